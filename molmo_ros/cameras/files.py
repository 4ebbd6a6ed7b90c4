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
from molmo_ros.grounding.image_file import StoredImage, UnreadableImage, decode_image
from molmo_ros.output import write_whole
from molmo_ros.spatial import DepthRemarks, UnsupportedDepth, depth_remarks, depth_to_metres


def read_color(path: Path, *, as_shown: bool = False) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB; as it is stored, or turned as its EXIF says. Raises UserError."""
    return read_image(path).rgb(as_shown)


def read_image(path: Path) -> StoredImage:
    """A picture as its file has it. Raises UserError."""
    return decode_named(str(path), _bytes(path))


def decode_named(name: str, data: bytes) -> StoredImage:
    """The picture in a file's bytes. name: where they are from, for errors. Raises UserError."""
    try:
        return decode_image(data)
    except UnreadableImage as error:
        raise UserError(f'{name} {error}') from error


def read_depth(path: Path, unit: float | None = None) -> NDArray[np.float32]:
    """(H, W) float32 metres: integers in the file are millimetres, floats are metres.

    PNG or TIFF of 16 bits, TIFF of floats, or a NumPy array (.npy). unit: metres a step of either,
    where it is another. Raises UserError.
    """
    return _metres(path, _depth_array(path), unit)


def read_depth_with_remarks(
    path: Path, unit: float | None, setting: str
) -> tuple[NDArray[np.float32], DepthRemarks]:
    """As read_depth, with what is implausible about it and what it does not say.

    setting: the option that gives the unit. Raises UserError.
    """
    array = _depth_array(path)
    metres = _metres(path, array, unit)
    # No standard says what the integers of a file are.
    encoding = '' if array.dtype == np.uint16 else _encoding(array)
    return metres, depth_remarks(metres, encoding, unit, setting)


def write_color(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 RGB in the format that the name ends in. Raises UserError."""
    _write(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def write_depth(path: Path, metres: NDArray[np.float32]) -> None:
    """Write (H, W) metres as a PNG of 16-bit millimetres, 0 where there is none."""
    millimetres = np.nan_to_num(np.rint(metres * 1000.0), nan=0, posinf=0, neginf=0)
    _write(path, np.where(millimetres < 2**16, millimetres, 0).astype(np.uint16))


def _depth_array(path: Path) -> NDArray:
    """Integers of 16 bits or floats, (H, W) unless it is something else. Raises UserError."""
    array = _numpy_array(path) if path.suffix == '.npy' else _decoded(path)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype != np.uint16 and not np.issubdtype(array.dtype, np.floating):
        raise UserError(
            f'{path} holds {array.dtype}, which is no depth: give 16-bit integers (millimetres) '
            'or floats (metres)'
        )
    return array


def _metres(path: Path, array: NDArray, unit: float | None) -> NDArray[np.float32]:
    try:
        return depth_to_metres(array, _encoding(array), unit)
    except UnsupportedDepth as error:
        raise UserError(f'{path}: {error}') from error


def _encoding(array: NDArray) -> str:
    return '16UC1' if array.dtype == np.uint16 else '32FC1'


def _numpy_array(path: Path) -> NDArray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read as a NumPy array: {first_line(error)}') from error


def _decoded(path: Path) -> NDArray:
    data = _bytes(path)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f'{path} is not an image that can be read, or it is cut short')
    return np.asarray(image)


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error
    if git_lfs.is_pointer(data):
        raise UserError(f'{path} is {git_lfs.WHAT_TO_DO}')
    return data


def _write(path: Path, image: NDArray) -> None:
    try:
        good, data = cv2.imencode(path.suffix, image)
    except cv2.error:
        good = False
    if not good:
        raise UserError(f'{path}: no picture can be written under that name; end it in .png')
    write_whole(path, data.tobytes())
