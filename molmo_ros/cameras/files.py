# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures, depth and calibration from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from molmo_ros.errors import UserError
from molmo_ros.spatial import (
    CalibrationError,
    CameraModel,
    UnsupportedDepth,
    depth_to_metres,
)


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


def read_camera(path: Path, image_size: tuple[int, int], *, rectified: bool = False) -> CameraModel:
    """The calibration of an image of that width and height. Raises UserError.

    rectified: the image is, so that P holds; otherwise K and D.
    YAML or JSON: the fields of a sensor_msgs/CameraInfo as `ros2 topic echo` prints them, or the
    file that camera_calibration writes.
    """
    try:
        # What `ros2 topic echo` prints ends in '---', an empty second document.
        fields = next(yaml.safe_load_all(_text(path)), None)
    except yaml.YAMLError as error:
        raise UserError(f'{path} is neither YAML nor JSON: {_first_line(error)}') from error
    if not isinstance(fields, dict):
        raise UserError(f'{path} is no camera_info: it should have width, height, k, d')
    try:
        return _camera(fields, image_size, rectified)
    except KeyError as error:
        raise UserError(f'{path} is no camera_info: it lacks {error}') from error
    except CalibrationError as error:
        raise UserError(f'{path}: {error}') from error
    except (TypeError, ValueError) as error:
        raise UserError(f'{path} is no camera_info: {_first_line(error)}') from error


def write_camera(path: Path, camera: CameraModel) -> None:
    """A camera without rotation, in the fields that `read_camera` reads."""
    fields = {
        'width': camera.width,
        'height': camera.height,
        'distortion_model': camera.distortion_model,
        'd': camera.D.tolist(),
        'k': camera.K.ravel().tolist(),
    }
    path.write_text(yaml.safe_dump(fields, sort_keys=False, default_flow_style=None))


def write_color(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 RGB in the format that the name ends in. Raises UserError."""
    _write(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def write_depth(path: Path, metres: NDArray[np.float32]) -> None:
    """Write (H, W) metres as a PNG of 16-bit millimetres, 0 where there is none."""
    millimetres = np.nan_to_num(np.rint(metres * 1000.0), nan=0, posinf=0, neginf=0)
    _write(path, np.where(millimetres < 2**16, millimetres, 0).astype(np.uint16))


def _camera(fields: dict[str, Any], image_size: tuple[int, int], rectified: bool) -> CameraModel:
    lower = {str(key).lower(): value for key, value in fields.items()}
    roi = lower.get('roi') or {}
    P = _numbers(lower.get('projection_matrix', lower.get('p', ())))
    if rectified and not np.any(P):
        raise ValueError('for a rectified image it should have P; without it leave out rectified')
    return CameraModel.from_camera_info_fields(
        int(lower['image_width'] if 'image_width' in lower else lower['width']),
        int(lower['image_height'] if 'image_height' in lower else lower['height']),
        _numbers(lower['camera_matrix'] if 'camera_matrix' in lower else lower['k']),
        _numbers(lower.get('distortion_coefficients', lower.get('d', ()))),
        str(lower.get('distortion_model', 'plumb_bob')),
        R=_numbers(lower.get('rectification_matrix', lower.get('r', ()))),
        P=P,
        binning_x=int(lower.get('binning_x', 0)),
        binning_y=int(lower.get('binning_y', 0)),
        roi=(
            int(roi.get('x_offset', 0)),
            int(roi.get('y_offset', 0)),
            int(roi.get('width', 0)),
            int(roi.get('height', 0)),
        ),
        rectified=rectified,
        image_size=image_size,
    )


def _numbers(value: Any) -> list[float]:
    """Of a list, nested or not, or of camera_calibration's {rows, cols, data}."""
    data = value['data'] if isinstance(value, dict) else value
    return [float(number) for number in np.ravel(np.array(data, dtype=float))]


def _numpy_array(path: Path) -> NDArray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read as a NumPy array: {_first_line(error)}') from error


def _decoded(path: Path, flags: int) -> NDArray:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error
    try:
        image = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f'{path} is not an image that can be read, or it is cut short')
    return np.asarray(image)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path} cannot be read: {_first_line(error)}') from error


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


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
