# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures, depth and calibration from files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros import git_lfs
from molmo_ros.cameras.calibration_files import read_camera as read_camera
from molmo_ros.cameras.calibration_files import write_camera as write_camera
from molmo_ros.cameras.calibration_text import first_line
from molmo_ros.errors import UserError
from molmo_ros.spatial import UnsupportedDepth, depth_to_metres


def read_color(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB. Raises UserError."""
    image = _decoded(path, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_depth(path: Path) -> NDArray[np.float32]:
    """(H, W) float32 metres: integers in the file are millimetres, floats are metres.

    PNG or TIFF of 16 bits, TIFF of floats, or a NumPy array (.npy). Raises UserError.
    """
    array = _numpy_array(path) if path.suffix == '.npy' else _decoded(path, cv2.IMREAD_UNCHANGED)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype == np.uint16:
        encoding = '16UC1'
    elif np.issubdtype(array.dtype, np.floating):
        encoding = '32FC1'
    else:
        raise UserError(
            f'{path} holds {array.dtype}, which is no depth: give 16-bit integers (millimetres) '
            'or floats (metres)'
        )
    try:
        return depth_to_metres(array, encoding)
    except UnsupportedDepth as error:
        raise UserError(f'{path}: {error}') from error


def write_color(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 RGB in the format that the name ends in. Raises UserError."""
    _write(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def write_depth(path: Path, metres: NDArray[np.float32]) -> None:
    """Write (H, W) metres as a PNG of 16-bit millimetres, 0 where there is none."""
    millimetres = np.nan_to_num(np.rint(metres * 1000.0), nan=0, posinf=0, neginf=0)
    _write(path, np.where(millimetres < 2**16, millimetres, 0).astype(np.uint16))


def _numpy_array(path: Path) -> NDArray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read as a NumPy array: {first_line(error)}') from error


def _decoded(path: Path, flags: int) -> NDArray:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error
    if git_lfs.is_pointer(data.tobytes()):
        raise UserError(f'{path} is {git_lfs.WHAT_TO_DO}')
    try:
        image = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f'{path} is not an image that can be read, or it is cut short')
    return np.asarray(image)


def _write(path: Path, image: NDArray) -> None:
    try:
        good, data = cv2.imencode(path.suffix, image)
    except cv2.error:
        good = False
    if not good:
        raise UserError(f'{path}: no picture can be written under that name; end it in .png')
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise UserError(f'{path} cannot be written: {error.strerror}') from error
