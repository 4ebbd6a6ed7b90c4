# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The trained weights as a checkpoint folder in the releases' layout."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from molmo_ros.model.writing import write_molmo
from training.architecture import PREPROCESSOR, new_model
from training.runs import load_modules


def export(state: Path, tokenizer: Path, folder: Path) -> None:
    """Write config, preprocessor config, tokenizer and float32 weights to `folder`."""
    model = new_model()
    load_modules(state, model)
    write_molmo(model, PREPROCESSOR, folder)
    # By name: a whole checkpoint folder will do, and keeps its weights to itself.
    for file in tokenizer.glob('tokenizer*'):
        shutil.copy(file, folder / file.name)


def main() -> None:
    parser = argparse.ArgumentParser(description='Write a checkpoint folder.')
    parser.add_argument('state', type=Path, help="stage 2's folder")
    parser.add_argument('tokenizer', type=Path)
    parser.add_argument('folder', type=Path)
    arguments = parser.parse_args()
    export(arguments.state, arguments.tokenizer, arguments.folder)


if __name__ == '__main__':
    main()
