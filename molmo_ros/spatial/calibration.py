# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether numbers that came from outside can be the calibration of a picture.

What is refused here would give positions that are wrong without a word.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .surface_point import is_rotation

# Focal lengths in widths of the picture. A fisheye of 360 degrees has 1/6, a narrow telescope 50.
_SHORTEST, _LONGEST = 1 / 20, 100.0
# Pixels that are as wide as high, or those of one field of an interlaced picture: 2.
_MOST_ASPECT = 3.0
# Skew is not modelled: it may move no pixel of the picture by more than one.
_MOST_SKEW_PIXELS = 1.0
# A rectification turns a camera to be parallel with its neighbour.
_MOST_RECTIFICATION_DEGREES = 45.0
_MOST_COEFFICIENT = 1e6


class CalibrationError(ValueError):
    """A camera_info that no ray can be had from; the text says why and what to do."""


class UncalibratedCamera(CalibrationError):
    """The camera_info carries no calibration, or one that cannot be that of its image."""


class UnsupportedDistortion(CalibrationError):
    """The distortion model, or its number of coefficients, is not one we can invert."""


class CameraSizeMismatch(CalibrationError):
    """The camera_info describes another view than the image: sizes that no scaling explains."""


def camera_matrix(
    numbers: Sequence[float], name: str, width: int, height: int
) -> NDArray[np.float64]:
    """K (9 numbers), or the left part of P (12), as a (3, 3) camera matrix of a width x height
    picture.

    Raises UncalibratedCamera where it cannot be one, ValueError for another count of numbers.
    """
    values = np.asarray(numbers, np.float64)
    if values.size not in (9, 12):
        raise ValueError(f'{name} has {values.size} numbers: K has 9 and P has 12')
    matrix = values.reshape(3, -1)[:, :3]
    why_not = _why_no_camera_matrix(matrix, width, height)
    if why_not:
        raise UncalibratedCamera(
            f'{name} {why_not}: calibrate the camera, or publish the camera_info its driver knows'
        )
    return matrix


def rectification(numbers: Sequence[float]) -> NDArray[np.float64]:
    """R (9 numbers, or zeros for none) as a (3, 3) rotation. Raises UncalibratedCamera."""
    if not np.any(numbers):
        return np.eye(3)
    values = np.asarray(numbers, np.float64)
    if values.size != 9 or not np.all(np.abs(values) < 2) or not is_rotation(values.reshape(3, 3)):
        raise UncalibratedCamera(
            'R is no rotation: calibrate the camera again, or set R to the identity where the '
            'camera is not half of a stereo pair'
        )
    R = values.reshape(3, 3)
    angle = np.degrees(np.arccos(np.clip((np.trace(R) - 1) / 2, -1.0, 1.0)))
    if angle > _MOST_RECTIFICATION_DEGREES:
        raise UncalibratedCamera(
            f'R turns by {angle:.0f} degrees, which no rectification does: where the camera '
            'stands belongs on /tf; set R to the identity'
        )
    return R


def coefficients(numbers: Sequence[float]) -> NDArray[np.float64]:
    """D as an array (n,). Raises UncalibratedCamera where it holds what no lens has."""
    values = np.asarray(numbers, np.float64).reshape(-1)
    if not np.all(np.abs(values) <= _MOST_COEFFICIENT):
        raise UncalibratedCamera(
            'the distortion D holds NaN, Inf or absurdly large numbers: calibrate the camera again'
        )
    return values


def _why_no_camera_matrix(matrix: NDArray[np.float64], width: int, height: int) -> str:
    """What is wrong with a camera matrix (3, 3) in pixels; '' for nothing."""
    if not np.all(np.isfinite(matrix)):
        return 'holds NaN or Inf'
    (fx, skew, cx), (tilt, fy, cy), last = matrix
    if not matrix.any() or fx == 0 or fy == 0:
        return 'is 0 where the focal length should be: the camera is not calibrated'
    if np.array_equal(matrix, np.eye(3)):
        return 'is the identity, as a driver leaves it that knows no calibration'
    if cx == cy == 0 and last[0] > 0 and last[1] > 0:
        return 'is in column order: its rows should be fx 0 cx, 0 fy cy and 0 0 1'
    if not np.allclose(last, (0, 0, 1), atol=1e-6):
        return f'ends in the row {_row(last)}, which should be 0 0 1'
    if fx < 0 or fy < 0:
        return f'has a negative focal length ({fx:g}, {fy:g})'
    return _why_no_pixels(fx, fy, cx, cy, width, height) or _why_skewed(skew, tilt, fy, height)


def _why_no_pixels(fx: float, fy: float, cx: float, cy: float, width: int, height: int) -> str:
    size = f'a picture of {width}x{height}'
    if max(fx, fy) < _SHORTEST * width and abs(cx) <= 1.5 and abs(cy) <= 1.5:
        return f'is normalised (fx {fx:g}, cx {cx:g}): it should be in pixels of {size}'
    if min(fx, fy) < _SHORTEST * width:
        return f'has a focal length of {min(fx, fy):g} pixels, too short for {size}'
    if max(fx, fy) > _LONGEST * max(width, height):
        return f'has a focal length of {max(fx, fy):g} pixels, absurdly long for {size}'
    if max(fx, fy) > _MOST_ASPECT * min(fx, fy):
        return f'has focal lengths that no pixel explains ({fx:g} across, {fy:g} down)'
    if not (0 < cx < width and 0 < cy < height):
        return f'has its principal point at ({cx:g}, {cy:g}), outside of {size}'
    return ''


def _why_skewed(skew: float, tilt: float, fy: float, height: int) -> str:
    if abs(skew) * height / 2 / fy > _MOST_SKEW_PIXELS or tilt != 0:
        return f'is skewed (K[1] is {skew:g}, K[3] is {tilt:g}; both should be 0)'
    return ''


def _row(numbers: NDArray[np.float64]) -> str:
    return ' '.join(f'{number:g}' for number in numbers)
