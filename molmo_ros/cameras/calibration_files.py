# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Calibrations as people have them on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from molmo_ros.cameras.calibration_formats import (
    FORMATS,
    Fields,
    Unreadable,
    cameras_in,
    read_info,
)
from molmo_ros.cameras.calibration_text import first_line, read_documents
from molmo_ros.errors import UserError
from molmo_ros.grounding.assumptions import CAMERA_OF_SEVERAL
from molmo_ros.output import write_whole
from molmo_ros.spatial import CameraModel


@dataclass(frozen=True, eq=False)
class Calibration:
    """The camera that a file describes, and what had to be assumed, in a sentence each."""

    camera: CameraModel
    assumed: tuple[str, ...] = ()


def read_calibration(
    path: Path, image_size: tuple[int, int], camera_name: str = '', *, rectified: bool = False
) -> Calibration:
    """The calibration of an image of that width and height.

    A camera_info as `ros2 topic echo` prints it, what camera_calibration, OpenCV (YAML and XML),
    RealSense, Open3D and Kalibr write. camera_name: which of several cameras in the file; '': the
    first, which is said. rectified: the image is, so that P holds; otherwise K and D. Raises
    UserError.
    """
    documents = read_documents(path)
    found = [camera for document in documents for camera in cameras_in(document)]
    if not found:
        raise UserError(f'{path} is no camera_info and no other calibration: give {FORMATS}')
    name, fields = _chosen(path, found, camera_name)
    others = _others(name, found)
    where = f'{path}: {name}' if others else str(path)
    try:
        info = read_info(fields, image_size, rectified)
    except Unreadable as error:
        raise UserError(f'{where} is no calibration: {error}') from error
    except (ValueError, OverflowError) as error:
        raise UserError(f'{where}: {first_line(error)}') from error
    if others and not camera_name:
        first = CAMERA_OF_SEVERAL.told(name=name, others=', '.join(others))
        return Calibration(info.camera, (first, *info.assumed))
    return Calibration(info.camera, info.assumed)


def read_camera(
    path: Path, image_size: tuple[int, int], camera_name: str = '', *, rectified: bool = False
) -> CameraModel:
    """`read_calibration` without what was assumed. Raises UserError."""
    return read_calibration(path, image_size, camera_name, rectified=rectified).camera


def write_camera(path: Path, camera: CameraModel) -> None:
    """A camera without rotation, in the fields that `read_camera` reads."""
    fields = {
        'width': camera.width,
        'height': camera.height,
        'distortion_model': camera.distortion_model,
        'd': camera.D.tolist(),
        'k': camera.K.ravel().tolist(),
    }
    write_whole(path, yaml.safe_dump(fields, sort_keys=False, default_flow_style=None))


def _chosen(path: Path, cameras: Sequence[tuple[str, Fields]], wanted: str) -> tuple[str, Fields]:
    for name, fields in cameras:
        if wanted in ('', name):
            return name, fields
    names = ', '.join(dict.fromkeys(name for name, _ in cameras if name)) or 'no names'
    raise UserError(f"{path} has no camera '{wanted}', it has {names}")


def _others(name: str, cameras: Sequence[tuple[str, Fields]]) -> list[str]:
    """Names of those that are not this one, each once."""
    return list(dict.fromkeys(other for other, _ in cameras if other != name))
