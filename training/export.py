# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The trained weights as a checkpoint folder in the releases' layout."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from molmo_ros.model.loading import load_molmo
from molmo_ros.model.saving import write_molmo
from training.architecture import PREPROCESSOR, new_model
from training.runs import load_modules


def export(state: Path, tokenizer: Path, folder: Path, others: Sequence[Path] = ()) -> None:
    """Write config, preprocessor config, tokenizer and float32 weights to `folder`.

    state: stage 2's folder. others: those of more states, or checkpoints; what is written is the
    mean of all.
    """
    weights = [_weights(one) for one in (state, *others)]
    model = new_model()
    model.load_state_dict({k: torch.stack([w[k] for w in weights]).mean(0) for k in weights[0]})
    write_molmo(model, PREPROCESSOR, folder)
    # By name: a whole checkpoint folder will do, and keeps its weights to itself.
    for file in tokenizer.glob('tokenizer*'):
        shutil.copy(file, folder / file.name)


def _weights(folder: Path) -> dict[str, Tensor]:
    if not (folder / 'state.pt').exists():
        return load_molmo(folder).model.state_dict()
    model = new_model()
    load_modules(folder, model)
    return model.state_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description='Write a checkpoint folder.')
    parser.add_argument('state', type=Path, help="stage 2's folder")
    parser.add_argument('tokenizer', type=Path)
    parser.add_argument('folder', type=Path)
    parser.add_argument(
        '--mean-with',
        type=Path,
        nargs='+',
        default=(),
        help='more such folders, or checkpoints, to average with',
    )
    arguments = parser.parse_args()
    export(arguments.state, arguments.tokenizer, arguments.folder, arguments.mean_with)


if __name__ == '__main__':
    main()
