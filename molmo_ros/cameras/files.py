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
from molmo_ros.grounding.image_file import StoredImage, UnreadableImage, decode_image
from molmo_ros.spatial import (
    CameraModel,
    CameraSizeMismatch,
    DepthRemarks,
    UncalibratedCamera,
    UnsupportedDepth,
    UnsupportedDistortion,
    depth_remarks,
    depth_to_metres,
)


def read_color(path: Path, *, as_shown: bool = False) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB; as it is stored, or turned as its EXIF says. Raises UserError."""
    return read_image(path).rgb(as_shown)


def read_image(path: Path) -> StoredImage:
    """A picture as its file has it. Raises UserError."""
    try:
        return decode_image(_bytes(path))
    except UnreadableImage as error:
        raise UserError(f'{path} {error}') from error


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


def read_camera(path: Path, image_size: tuple[int, int]) -> CameraModel:
    """The calibration of an image of that width and height. Raises UserError.

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
        return _camera(fields, image_size)
    except KeyError as error:
        raise UserError(f'{path} is no camera_info: it lacks {error}') from error
    except (UncalibratedCamera, UnsupportedDistortion, CameraSizeMismatch) as error:
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


def _camera(fields: dict[str, Any], image_size: tuple[int, int]) -> CameraModel:
    lower = {str(key).lower(): value for key, value in fields.items()}
    roi = lower.get('roi') or {}
    return CameraModel.from_camera_info_fields(
        int(lower['image_width'] if 'image_width' in lower else lower['width']),
        int(lower['image_height'] if 'image_height' in lower else lower['height']),
        _numbers(lower['camera_matrix'] if 'camera_matrix' in lower else lower['k']),
        _numbers(lower.get('distortion_coefficients', lower.get('d', ()))),
        str(lower.get('distortion_model', 'plumb_bob')),
        R=_numbers(lower.get('rectification_matrix', lower.get('r', ()))),
        P=_numbers(lower.get('projection_matrix', lower.get('p', ()))),
        binning_x=int(lower.get('binning_x', 0)),
        binning_y=int(lower.get('binning_y', 0)),
        roi=(
            int(roi.get('x_offset', 0)),
            int(roi.get('y_offset', 0)),
            int(roi.get('width', 0)),
            int(roi.get('height', 0)),
        ),
        image_size=image_size,
    )


def _numbers(value: Any) -> list[float]:
    """Of a list, nested or not, or of camera_calibration's {rows, cols, data}."""
    data = value['data'] if isinstance(value, dict) else value
    return [float(number) for number in np.ravel(np.array(data, dtype=float))]


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
        raise UserError(f'{path} cannot be read as a NumPy array: {_first_line(error)}') from error


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
        return path.read_bytes()
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error


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
