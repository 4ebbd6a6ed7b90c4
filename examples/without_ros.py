# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a picture and a question to points in space with the library alone.

python examples/without_ros.py IMAGE DEPTH CAMERA "the yellow banana" [CHECKPOINT]
"""

import sys
from pathlib import Path

from molmo_ros.cameras.files import read_camera, read_color, read_depth, write_color
from molmo_ros.engine import Question, load_engine
from molmo_ros.engine.shipped import default_checkpoint
from molmo_ros.grounding.annotate import annotated
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import ground


def main() -> int:
    image, depth, camera = (Path(argument) for argument in sys.argv[1:4])
    checkpoint = sys.argv[5] if len(sys.argv) > 5 else default_checkpoint()
    color = read_color(image)
    height, width = color.shape[:2]
    frame = Frame(color, read_depth(depth), read_camera(camera, (width, height)), 0, 'camera')
    engine = load_engine(checkpoint)
    try:
        # The second question about a picture costs little: what was seen is kept.
        answer = engine.answer(color, Question(sys.argv[4]))
    finally:
        engine.close()
    found = ground(answer.points, Capture(frame))
    for point in found.points:
        image, surface = point.image, point.surface
        print(f'{image.u:.1f}, {image.v:.1f} pixels, confidence {image.confidence:.2f}')
        print('  ', surface.status.name, surface.position, 'm in the optical frame')
    print('\n'.join((*found.assumed, *found.notes)))
    write_color(Path('answer.png'), annotated(color, answer.points))
    return 0 if found.points else 1


if __name__ == '__main__':
    sys.exit(main())
