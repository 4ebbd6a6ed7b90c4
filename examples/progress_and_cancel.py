# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Follow a question through its stages, and take another one back.

python examples/progress_and_cancel.py "the yellow banana"
"""

import sys

from molmo_ros.ros.client import AnsweredPoint, PointQueryClient


def told(stage: str, points: tuple[AnsweredPoint, ...]) -> None:
    """Called in the client's thread as each stage begins; points are in pixels at first."""
    print(f'{stage}: {len(points)} points so far')


def main() -> int:
    query = sys.argv[1] if len(sys.argv) > 1 else 'the yellow banana'
    with PointQueryClient() as client:
        if not client.wait_until_ready(timeout=120):
            print(f'the node is not ready: {client.engine_state}')
            return 1
        pending = client.start(query, on_feedback=told)
        # A robot goes on with something else here, and looks with pending.done().
        answered = pending.result(timeout=60)
        print(answered.status.name, [(point.image.u, point.image.v) for point in answered.points])

        unwanted = client.start('every object on the table')
        unwanted.cancel()
        # CANCELED, or SUCCESS where the answer was there before the wish arrived.
        print(unwanted.result(timeout=60).status.name)
    return 0


if __name__ == '__main__':
    sys.exit(main())
