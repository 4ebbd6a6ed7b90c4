# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which source of frames a name means."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from molmo_ros.cameras.bag import Bag, BagSettings
from molmo_ros.cameras.librealsense import is_realsense_recording
from molmo_ros.cameras.picture_files import PictureSettings
from molmo_ros.cameras.pictures import VIDEOS, PictureFolder, Video, Webcam
from molmo_ros.cameras.realsense import RealSense, RealSenseSettings
from molmo_ros.cameras.source import Source
from molmo_ros.errors import UserError

BAGS = ('.mcap', '.db3', '.bag')


@dataclass(frozen=True)
class SourceSettings:
    """How sources are read.

    bag: a bag. pictures: those of a folder. preset, align: of a RealSense, as its settings have
    them.
    """

    bag: BagSettings = field(default_factory=BagSettings)
    pictures: PictureSettings = field(default_factory=PictureSettings)
    preset: str = ''
    align: bool = False


def names_camera(text: str) -> bool:
    """Whether a text names a camera of this machine: 'realsense', 'webcam:1'; a file of that name
    goes before it."""
    kind = text.partition(':')[0]
    return kind in ('realsense', 'webcam') and os.sep not in text and not Path(text).exists()


def names_recording(text: str) -> bool:
    """Whether a text names a folder, a bag, or a video: anything but a picture."""
    path = Path(text)
    return path.is_dir() or path.suffix.lower() in (*BAGS, *VIDEOS)


def holds_pictures(path: Path) -> bool:
    """Whether a path is that of a folder, and of no bag."""
    return path.is_dir() and not (path / 'metadata.yaml').exists()


def open_source(text: str, settings: SourceSettings | None = None) -> Source:
    """The source that a text names. Raises UserError.

    'realsense', 'realsense:SERIAL', 'webcam' or 'webcam:NUMBER': a camera. A .mcap or .db3 file or
    a folder with metadata.yaml: a ROS bag; a .db3 or .bag file that librealsense recorded; a video;
    or a folder of pictures.
    """
    settings = settings or SourceSettings()
    if names_camera(text):
        return _camera(text, settings)
    path = Path(text)
    if not path.exists():
        raise UserError(f'{path} does not exist')
    if path.is_dir():
        if holds_pictures(path):
            return PictureFolder(path, settings.pictures)
        return Bag(path, settings.bag)
    if path.suffix.lower() in VIDEOS:
        return Video(path)
    if is_realsense_recording(path):
        return RealSense(RealSenseSettings(recording=path, align=settings.align))
    if path.suffix.lower() == '.bag':
        raise UserError(
            f'{path} is no recording of librealsense; if it is a bag of ROS 1, turn it into one of '
            f'ROS 2: rosbags-convert --src {path} --dst {path.with_suffix("")}'
        )
    return Bag(path, settings.bag)


def _camera(text: str, settings: SourceSettings) -> Source:
    kind, _, which = text.partition(':')
    if kind == 'realsense':
        wanted = RealSenseSettings(serial=which, preset=settings.preset, align=settings.align)
        return RealSense(wanted)
    if which and not which.isdecimal():
        raise UserError(f"'{text}' is no camera: give the number of a webcam, as in webcam:1")
    return Webcam(int(which or 0))
