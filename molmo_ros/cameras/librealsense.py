# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""librealsense's values in our terms; loading it where libusb comes from a wheel."""

from __future__ import annotations

import ctypes
import sqlite3
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.cameras.source import first_line
from molmo_ros.errors import UserError
from molmo_ros.extras import require
from molmo_ros.grounding.assumptions import LENS_FITTED
from molmo_ros.spatial import CameraModel

# Pixels by which a lens model of librealsense's may differ from the one that stands for it.
_SAME_PX = 0.25
_GRID = 24
_ENDS = 1 << 20


@cache
def load_librealsense() -> Any:
    """The module pyrealsense2. Raises UserError where it is missing, or cannot be loaded."""
    require('pyrealsense2', 'a RealSense without its ROS driver')
    try:
        # Its wheel wants the system's libusb, which a bare system does not have.
        import libusb_package

        ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
    except (ImportError, OSError):
        pass
    try:
        import pyrealsense2
    except ImportError as error:
        raise UserError(
            f'pyrealsense2 cannot be loaded ({first_line(error)}): pip install libusb-package, or '
            'sudo apt install libusb-1.0-0'
        ) from error
    return pyrealsense2


def is_realsense_recording(path: Path) -> bool:
    """Whether librealsense wrote a file, and not ROS, by its topics: all below /device_0."""
    try:
        if path.suffix == '.db3':
            with sqlite3.connect(f'file:{path}?mode=ro', uri=True) as bag:
                found = bag.execute("select 1 from topics where name like '/device_0/%'").fetchone()
            return found is not None
        with path.open('rb') as file:
            # A bag of ROS 1 names its topics before the first messages and after the last.
            begin = file.read(_ENDS)
            file.seek(max(path.stat().st_size - _ENDS, 0))
            return b'/device_0/' in begin or b'/device_0/' in file.read()
    except (OSError, sqlite3.Error):
        return False


def camera_of(own: Any) -> tuple[CameraModel, str]:
    """The model of librealsense's intrinsics, and what is assumed of its lens; '' for nothing.

    Raises UserError for a camera without calibration.
    """
    rs = load_librealsense()
    K = np.array([[own.fx, 0, own.ppx], [0, own.fy, own.ppy], [0, 0, 1.0]])
    if own.width < 1 or own.height < 1 or own.fx <= 0 or own.fy <= 0:
        raise UserError('the camera has no calibration: calibrate it with the RealSense Viewer')
    size = own.width, own.height
    if not any(own.coeffs) or own.model == rs.distortion.none:
        return CameraModel(*size, K), ''
    if own.model == rs.distortion.brown_conrady:
        return CameraModel(*size, K, np.array(own.coeffs)), ''
    if own.model == rs.distortion.kannala_brandt4:
        return CameraModel(*size, K, np.array(own.coeffs[:4]), 'equidistant'), ''
    D, worst = _fitted(rs, own)
    assumed = ''
    if worst > _SAME_PX:
        assumed = LENS_FITTED.told(model=own.model.name, worst=f'{worst:.1f}')
    return CameraModel(*size, K, D), assumed


def _fitted(rs: Any, own: Any) -> tuple[NDArray[np.float64], float]:
    """plumb_bob's five coefficients for any lens model, and their largest error in pixels.

    They enter linearly into how far a ray is bent, so the best are those of least squares.
    """
    us, vs = np.linspace(0, own.width - 1, _GRID), np.linspace(0, own.height - 1, _GRID)
    x, y = (axis.ravel() for axis in np.meshgrid((us - own.ppx) / own.fx, (vs - own.ppy) / own.fy))
    # Not the other way: librealsense cannot deproject pixels of every model, and does not say so.
    rays = [[float(a), float(b), 1.0] for a, b in zip(x, y, strict=True)]
    u, v = np.array([rs.rs2_project_point_to_pixel(own, ray) for ray in rays]).T
    r2 = x * x + y * y
    bends = np.concatenate([(u - own.ppx) / own.fx - x, (v - own.ppy) / own.fy - y])
    rows = np.column_stack(
        [
            np.concatenate([x * r2, y * r2]),
            np.concatenate([x * r2**2, y * r2**2]),
            np.concatenate([2 * x * y, r2 + 2 * y * y]),
            np.concatenate([r2 + 2 * x * x, 2 * x * y]),
            np.concatenate([x * r2**3, y * r2**3]),
        ]
    )
    D = np.linalg.lstsq(rows, bends, rcond=None)[0]
    worst = float(np.abs(rows @ D - bends).max()) * max(own.fx, own.fy)
    return D, worst


def pose_of(extrinsics: Any) -> NDArray[np.float64]:
    """The (4, 4) matrix that takes points from one sensor's frame to another's, metres."""
    T = np.eye(4)
    T[:3, :3] = np.reshape(extrinsics.rotation, (3, 3)).T  # column by column
    T[:3, 3] = extrinsics.translation
    return T


def color_of(frame: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a color frame. Raises UserError."""
    rs = load_librealsense()
    codes = {
        rs.format.rgb8: None,
        rs.format.bgr8: cv2.COLOR_BGR2RGB,
        rs.format.rgba8: cv2.COLOR_RGBA2RGB,
        rs.format.bgra8: cv2.COLOR_BGRA2RGB,
        rs.format.yuyv: cv2.COLOR_YUV2RGB_YUY2,
        rs.format.uyvy: cv2.COLOR_YUV2RGB_UYVY,
        rs.format.y8: cv2.COLOR_GRAY2RGB,
    }
    form = frame.profile.format()
    if form not in codes:
        raise UserError(f'the color stream has the format {form.name}: record it as rgb8')
    pixels, code = np.asanyarray(frame.get_data()), codes[form]
    if pixels.dtype != np.uint8:  # two bytes a pixel come as one number
        pixels = pixels.view(np.uint8).reshape(*pixels.shape[:2], -1)
    return np.asarray(pixels.copy() if code is None else cv2.cvtColor(pixels, code), np.uint8)


def depth_of(frame: Any) -> NDArray[np.float32]:
    """(H, W) float32 metres of a depth frame, NaN where there is no reading."""
    counts = np.asanyarray(frame.get_data())
    return np.where(counts == 0, np.nan, counts * np.float64(frame.get_units())).astype(np.float32)


def presets_of(sensor: Any) -> Mapping[str, int]:
    """The visual presets of a depth sensor, by name."""
    option = load_librealsense().option.visual_preset
    if not sensor.supports(option):
        return {}
    span = sensor.get_option_range(option)
    numbers = range(int(span.min), int(span.max) + 1)
    named = {n: sensor.get_option_value_description(option, float(n)) or str(n) for n in numbers}
    return {name: number for number, name in named.items()}


def set_preset(sensor: Any, preset: str) -> None:
    """Set a visual preset by its name, however it is spaced, or by its number. Raises UserError."""
    presets = presets_of(sensor)
    wanted = _plain(preset)
    for name, number in presets.items():
        if wanted in (_plain(name), str(number)):
            sensor.set_option(load_librealsense().option.visual_preset, number)
            return
    known = ', '.join(presets) or 'none'
    raise UserError(f"the camera has no preset '{preset}', it has: {known}")


def _plain(name: str) -> str:
    return ''.join(letter for letter in name.lower() if letter.isalnum())
