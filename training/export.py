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

from molmo_ros.model.molmo import Molmo
from molmo_ros.model.options import DTYPES
from molmo_ros.model.saving import write_molmo
from training.architecture import PREPROCESSOR, new_model
from training.runs import checkpoint_weights, load_modules

STORED_AS = 'float16'
"""Half the bytes of float32; the demo checkpoint answers as before (see its card)."""


def export(
    state: Path,
    tokenizer: Path,
    folder: Path,
    others: Sequence[Path] = (),
    dtype: str = STORED_AS,
) -> None:
    """Write config, preprocessor config, tokenizer and weights to `folder`.

    state: stage 2's folder, or a checkpoint. others: more of either; what is written is the mean of
    all, taken in float32 and rounded once. dtype: one of `DTYPES`, what the weights are stored in.
    """
    weights = [_weights(one) for one in (state, *others)]
    model = new_model()
    model.load_state_dict({k: torch.stack([w[k] for w in weights]).mean(0) for k in weights[0]})
    write(model, tokenizer, folder, DTYPES[dtype])


def write(model: Molmo, tokenizer: Path, folder: Path, dtype: torch.dtype) -> None:
    """The folder of a model; of the folder `tokenizer` the tokenizer's files are taken."""
    write_molmo(model, PREPROCESSOR, folder, dtype)
    # By name: a whole checkpoint folder will do, and keeps its weights to itself.
    for file in tokenizer.glob('tokenizer*'):
        shutil.copy(file, folder / file.name)


def _weights(folder: Path) -> dict[str, Tensor]:
    if not (folder / 'state.pt').exists():
        return checkpoint_weights(folder)
    model = new_model()
    load_modules(folder, model)
    return model.state_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description='Write a checkpoint folder.')
    parser.add_argument('state', type=Path, help="stage 2's folder, or a checkpoint")
    parser.add_argument('tokenizer', type=Path)
    parser.add_argument('folder', type=Path)
    parser.add_argument(
        '--mean-with',
        type=Path,
        nargs='+',
        default=(),
        help='more such folders, or checkpoints, to average with',
    )
    parser.add_argument(
        '--dtype',
        choices=tuple(DTYPES),
        default=STORED_AS,
        help='what the weights are stored in (default: %(default)s); a CPU computes in float32 '
        'whichever it is',
    )
    arguments = parser.parse_args()
    export(
        arguments.state,
        arguments.tokenizer,
        arguments.folder,
        arguments.mean_with,
        arguments.dtype,
    )


if __name__ == '__main__':
    main()
