# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The whole way from nothing to a checkpoint folder; started again, it goes on where it was."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from training import pointing, scenes, seeing
from training.export import export
from training.vocabulary import build_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m training', description=__doc__)
    parser.add_argument('--runs', type=Path, default=Path('training/runs'))
    parser.add_argument('--out', type=Path, default=Path('training/runs/checkpoint'))
    parser.add_argument('--scenes', type=int, default=6000)
    parser.add_argument('--seeing-steps', type=int, default=1650)
    parser.add_argument('--pointing-steps', type=int, default=1500)
    parser.add_argument('--threads', type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    runs = arguments.runs
    scenes.render_scenes(runs / 'scenes', arguments.scenes)
    build_tokenizer(runs / 'tokenizer')
    seeing.train(runs / 'seeing', runs / 'scenes', arguments.seeing_steps)
    pointing.train(
        runs / 'pointing',
        runs / 'scenes',
        runs / 'seeing',
        runs / 'tokenizer',
        arguments.pointing_steps,
    )
    export(runs / 'pointing', runs / 'tokenizer', arguments.out)
    print(f'checkpoint written to {arguments.out}')


if __name__ == '__main__':
    main()
