# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures and what is written about them in points.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from molmo_ros.errors import UserError
from molmo_ros.evaluation.points_folder import IMAGES, POINTS, InvalidFolder, line_of, read_lines
from molmo_ros.output import write_whole

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
Pixel = tuple[float, float]


class LabelBook:
    """What is written is on disk at once. Raises UserError where the folder cannot be used.

    pictures: names below images/, sorted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        images = folder / IMAGES
        self.pictures = sorted(
            path.relative_to(images).as_posix()
            for path in images.rglob('*')
            if path.is_file() and path.suffix.lower() in SUFFIXES
        )
        if not self.pictures:
            raise UserError(f'{images} has no pictures: put there those that you want to label')
        self._path = folder / POINTS
        self._written = self._bytes()
        self._lines: dict[tuple[str, str], tuple[Pixel, ...]] = {}
        if self._written.strip():
            try:
                read_lines(folder)
            except InvalidFolder as error:
                raise UserError(str(error)) from error
            for line in filter(str.strip, self._written.decode().split('\n')):
                fields = json.loads(line)
                points = tuple((float(u), float(v)) for u, v in fields['points'])
                self._lines[fields['image'], fields['label'].strip()] = points

    @property
    def labels(self) -> list[str]:
        """Every label that was used, in the order of first use."""
        return [*dict.fromkeys(label for _, label in self._lines)]

    def points(self, picture: str, label: str) -> tuple[Pixel, ...] | None:
        """Pixels of all things of that label; None where nobody has said."""
        return self._lines.get((picture, label))

    def about(self, picture: str) -> dict[str, tuple[Pixel, ...]]:
        """Points by label."""
        return {label: points for (name, label), points in self._lines.items() if name == picture}

    def done(self, label: str) -> int:
        """In how many pictures it is known where the things of that label are."""
        return sum(name == label for _, name in self._lines)

    def keep(self, picture: str, label: str, points: Sequence[Pixel]) -> None:
        """Write a line, in place of the one that there was. Raises UserError."""
        self._write({**self._lines, (picture, label): tuple(points)})

    def remove(self, picture: str, label: str) -> None:
        """Write no line about it. Raises UserError."""
        self._write({key: one for key, one in self._lines.items() if key != (picture, label)})

    def _write(self, lines: dict[tuple[str, str], tuple[Pixel, ...]]) -> None:
        if self._bytes() != self._written:
            raise UserError(
                f'{self._path} was changed by something else meanwhile; start again, so that '
                'nothing of it is lost'
            )
        text = ''.join(f'{line_of(*key, points)}\n' for key, points in lines.items())
        write_whole(self._path, text)
        self._lines, self._written = lines, text.encode()

    def _bytes(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b''
        except OSError as error:
            raise UserError(f'{self._path} cannot be read: {error.strerror}') from error
