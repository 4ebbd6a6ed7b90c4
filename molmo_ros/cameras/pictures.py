# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of a video file, of a webcam, and of a folder of pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.cameras.files import read_image
from molmo_ros.cameras.picture_files import FLAT, PictureSettings, capture_of_files
from molmo_ros.cameras.source import Source
from molmo_ros.errors import UserError
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame

PICTURES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm')
VIDEOS = ('.mp4', '.avi', '.mkv', '.mov', '.m4v', '.webm', '.mpg', '.mpeg', '.wmv')
_DEPTHS = ('.png', '.tiff', '.tif', '.npy')
_CALIBRATIONS = ('.yaml', '.yml', '.json')
# Seconds until a webcam has found its exposure, and in which what it kept from before is passed.
_SETTLES_S, _PASSED_S = 1.0, 0.3


class Video(Source):
    """A video file, through OpenCV. Raises UserError."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(f'{path} is no file')
        self._path = path
        with _quiet():
            self._video = cv2.VideoCapture(str(path))
        if not self._video.isOpened():
            raise UserError(f'{path} is not a video that OpenCV can read, or it is cut short')
        self._rate = self._video.get(cv2.CAP_PROP_FPS) or 30.0
        count = self._video.get(cv2.CAP_PROP_FRAME_COUNT)
        self.lasts = count / self._rate if count > 0 else inf

    def close(self) -> None:
        """See Source."""
        self._video.release()

    def capture(self, at: float | None = None) -> Capture:
        """See Source. There is neither depth nor a calibration, and the stamp is 0."""
        number = self._number(at or 0.0)
        self._video.set(cv2.CAP_PROP_POS_FRAMES, number)
        with _quiet():
            good, image = self._video.read()
        if not good:
            raise UserError(f'{self._path} has no picture at {at or 0:g} s')
        self.about = f'{self._path}, picture {number}'
        return Capture(Frame(_rgb(image), None, None, 0, ''), missing=FLAT)

    def _number(self, at: float) -> int:
        """Of the picture that is shown at a time, from 0. Raises UserError."""
        number = int(at * self._rate + 1e-6)
        if at < 0 or number >= self.lasts * self._rate:
            raise UserError(f'{self._path} lasts {self.lasts:.3f} s: {at:g} s is not within it')
        return number


class Webcam(Source):
    """A camera that the system knows, by its number, through OpenCV. Raises UserError."""

    def __init__(self, number: int = 0) -> None:
        self._number = number
        self._settles = _SETTLES_S
        with _quiet():
            self._video = cv2.VideoCapture(number)
        if not self._video.isOpened():
            raise UserError(
                f'there is no webcam {number}, or something else uses it (/dev/video{number})'
            )

    def close(self) -> None:
        """See Source."""
        self._video.release()

    def capture(self, at: float | None = None) -> Capture:
        """See Source. There is neither depth nor a calibration."""
        if at is not None:
            raise UserError('a webcam shows what it sees now: leave out --at')
        return self._taken(self._settles)

    def follow(self) -> Capture:
        """See Source."""
        return self._taken(0.0)

    def _taken(self, seconds: float) -> Capture:
        """What is seen after so long. Raises UserError."""
        end = time.monotonic() + seconds
        self._settles = _PASSED_S
        good, image = self._video.read()
        while good and time.monotonic() < end:
            good, image = self._video.read()
        if not good:
            raise UserError(f'webcam {self._number} gives no picture')
        self.about = f'webcam {self._number}'
        return Capture(Frame(_rgb(image), None, None, time.time_ns(), ''), missing=FLAT)


class PictureFolder(Source):
    """Pictures by name. NAME_depth.png and NAME_camera.yaml, or one camera.yaml, go with NAME.png.

    pictures: their paths. Raises UserError where there is none.
    """

    def __init__(self, path: Path, settings: PictureSettings | None = None) -> None:
        self._path, self._settings = path, settings
        self.pictures = pictures_in(path)

    def capture(self, at: float | None = None) -> Capture:
        """See Source; `at` counts pictures here, from 0. The stamp is 0."""
        number = int(at or 0)
        if number != (at or 0) or not 0 <= number < len(self.pictures):
            last = len(self.pictures) - 1
            raise UserError(f'{self._path}: --at is the number of a picture here, 0 to {last}')
        picture = self.pictures[number]
        depth = _first_file([picture.with_name(f'{picture.stem}_depth{e}') for e in _DEPTHS])
        own = [picture.with_name(f'{picture.stem}_camera{e}') for e in _CALIBRATIONS]
        camera = _first_file([*own, *(picture.with_name(f'camera{e}') for e in _CALIBRATIONS)])
        self.about = ' with '.join(str(path) for path in (picture, depth, camera) if path)
        return capture_of_files(read_image(picture), depth, camera, self._settings)


def pictures_in(folder: Path) -> list[Path]:
    """Those of a folder by name, without depth. Raises UserError where there is none."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f'{folder} cannot be read: {error.strerror}') from error
    found = [e for e in entries if e.suffix.lower() in PICTURES and not e.stem.endswith('_depth')]
    if not found:
        raise UserError(f'{folder} holds no pictures ({", ".join(PICTURES)}), and is no ROS bag')
    return found


def _first_file(paths: Sequence[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _rgb(image: Any) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV's own warnings say no more than what is raised."""
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
