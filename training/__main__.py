# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The whole way from nothing to a checkpoint folder; started again, it goes on where it was."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

import torch

from training import plots, pointing, scenes, seeing, workers
from training.export import export
from training.vocabulary import build_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m training', description=__doc__)
    parser.add_argument('--runs', type=Path, default=Path('training/runs'))
    parser.add_argument('--out', type=Path, default=Path('training/runs/checkpoint'))
    parser.add_argument('--scenes', type=int, default=6000, help='of the easy table')
    parser.add_argument('--rich-scenes', type=int, default=12_000)
    parser.add_argument('--other-scenes', type=int, default=1250, help='of each other camera')
    parser.add_argument('--easy-steps', type=int, default=1650)
    parser.add_argument('--seeing-steps', type=int, default=19_700)
    parser.add_argument('--pointing-steps', type=int, default=32_370)
    parser.add_argument('--bfloat16', action='store_true', help='faster where the CPU knows it')
    default = 1 if torch.cuda.is_available() else min(2, os.cpu_count() or 1)
    parser.add_argument('--workers', type=int, default=default, help='processes that train')
    arguments = parser.parse_args()
    work = partial(workers.run, arguments.workers)
    easy, rich = (arguments.runs / f'scenes_{table}' for table in ('easy', 'rich'))
    first, seen, pointed, tokenizer = (
        arguments.runs / name for name in ('seeing_easy', 'seeing', 'pointing', 'tokenizer')
    )
    scenes.render_scenes(easy, 'easy', arguments.scenes)
    scenes.render_scenes(rich, 'rich', arguments.rich_scenes)
    others = {camera: arguments.runs / f'scenes_rich_{camera}' for camera in scenes.OTHER_CAMERAS}
    for camera, folder in others.items():
        scenes.render_scenes(folder, 'rich', arguments.other_scenes, camera)
    build_tokenizer(tokenizer)
    lower = arguments.bfloat16
    work(seeing.train, first, easy, arguments.easy_steps, bfloat16=lower)
    work(seeing.train, seen, rich, arguments.seeing_steps, start=first, bfloat16=lower)
    work(
        pointing.train,
        pointed,
        [rich, *others.values()],
        tokenizer,
        arguments.pointing_steps,
        encoder=seen,
        bfloat16=lower,
    )
    export(pointed, tokenizer, arguments.out)
    for run in (first, seen, pointed):
        plots.plot(run, run / 'curves.png')
    print(f'checkpoint written to {arguments.out}')


if __name__ == '__main__':
    main()
