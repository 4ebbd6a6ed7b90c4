# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where files of answers go, made sure of before anybody waits for a model; and who shows them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import cv2

from molmo_ros.errors import UserError


class Destination:
    """One file, or a folder with a file for each answer.

    option: that named it, for errors. suffix: of a file in a folder. kept: files that stay as they
    are. Raises UserError where nothing can be written there.
    """

    def __init__(
        self, option: str, given: Path, several: bool, suffix: str, kept: Sequence[Path] = ()
    ) -> None:
        self._given, self._suffix = given, suffix
        self._used: set[str] = set()
        self.is_folder = several or given.is_dir()
        if given.resolve() in [path.parent if self.is_folder else path for path in kept]:
            raise UserError(
                f'{option} {given}: that is where the pictures asked about are; give another name, '
                'so that none is written over'
            )
        if not self.is_folder:
            check_writable(option, given)
            return
        if given.suffix and not given.is_dir():
            raise UserError(f'{option} {given}: there may be several answers, so give a folder')
        try:
            given.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'{option} {given} cannot be made: {error.strerror}') from error
        if not os.access(given, os.W_OK):
            raise UserError(f'{option} {given} cannot be written to')

    def path(self, name: str) -> Path:
        """For the next answer, about a picture of that name."""
        if not self.is_folder:
            return self._given
        stem = re.sub(r'[^\w.-]+', '_', PurePosixPath(name).stem).strip('_') or 'answer'
        unused, number = stem, 1
        while unused in self._used:
            number += 1
            unused = f'{stem}_{number}'
        self._used.add(unused)
        return self._given / f'{unused}{self._suffix}'


def beside(path: Path, what: str) -> Path:
    """The name of a further file of the same answer: mug.png, mug.heat.png."""
    return path.with_name(f'{path.stem}.{what}{path.suffix}')


def check_writable(option: str, path: Path) -> None:
    """Raise UserError where no such file can be written."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(f'{option} {path} cannot be written: there is no folder {folder}')
    if path.is_dir():
        raise UserError(f'{option} {path} cannot be written: it is a folder')
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UserError(f'{option} {path} cannot be written: permission denied')


def check_picture_name(path: Path) -> None:
    """Raise UserError where the name ends in no format of pictures."""
    try:
        good = cv2.haveImageWriter(str(path))
    except cv2.error:
        good = False
    if not good:
        raise UserError(f'{path}: no picture can be written under that name; end it in .png')


def viewer() -> Callable[[Path], None]:
    """What opens a file or a folder as the desktop does. Raises UserError where there is none."""
    if sys.platform == 'win32':
        return os.startfile
    program = 'open' if sys.platform == 'darwin' else 'xdg-open'
    found = shutil.which(program)
    if found is None:
        raise UserError(f'--open needs {program}, which is not here: write the picture with --out')
    if program == 'xdg-open' and not {'DISPLAY', 'WAYLAND_DISPLAY'} & os.environ.keys():
        raise UserError('--open needs a desktop, and there is no display: write it with --out')

    def show(path: Path) -> None:
        # It may last as long as the window.
        subprocess.Popen(
            [found, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    return show
