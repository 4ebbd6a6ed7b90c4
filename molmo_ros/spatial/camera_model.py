# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera geometry: from pixels to rays in the optical frame and back.

The pixel convention is OpenCV's and ROS's: (0, 0) is the centre of the top left pixel, u to the
right, v down. The optical frame is REP-103's: x right, y down, z forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

# How many coefficients each model of sensor_msgs/CameraInfo may have; OpenCV pads the rest.
COEFFICIENTS = {
    'plumb_bob': (4, 5),
    'rational_polynomial': (8,),
    'thin_prism': (12, 14),
    'equidistant': (4,),
}


class UncalibratedCamera(ValueError):
    """The camera_info carries no calibration (K is zero or not a camera matrix)."""


class UnsupportedDistortion(ValueError):
    """The distortion model, or its number of coefficients, is not one we can invert."""


class CameraSizeMismatch(ValueError):
    """The camera_info describes another view than the image: sizes that no scaling explains."""


@dataclass(frozen=True)
class CameraModel:
    """Where the rays of an image's pixels go.

    width, height: size in pixels of the image the model is for.
    K: (3, 3) float64 camera matrix in pixels.
    D: (n,) float64 distortion coefficients in OpenCV's order; empty means none.
    distortion_model: 'plumb_bob', 'rational_polynomial', 'thin_prism' or 'equidistant'.
    R: (3, 3) float64 rotation from the camera as mounted to the frame of the rays; the identity
       for all but raw images of stereo pairs.
    """

    width: int
    height: int
    K: NDArray[np.float64]
    D: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    distortion_model: str = 'plumb_bob'
    R: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))

    def __post_init__(self) -> None:
        K = np.asarray(self.K, np.float64).reshape(3, 3)
        if not np.all(np.isfinite(K)) or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise UncalibratedCamera(
                'the camera is not calibrated (K[0] is 0): calibrate it, or publish the '
                'camera_info its driver knows'
            )
        model, D = _checked_distortion(self.distortion_model, self.D)
        object.__setattr__(self, 'K', K)
        object.__setattr__(self, 'D', D)
        object.__setattr__(self, 'distortion_model', model)
        object.__setattr__(self, 'R', np.asarray(self.R, np.float64).reshape(3, 3))

    def ray(self, u: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
        """Rays (..., 3) with z = 1 in the optical frame through the pixels (u, v).

        NaN where the lens model has no ray with z > 0 for the pixel.
        """
        u, v = np.broadcast_arrays(np.asarray(u, np.float64), np.asarray(v, np.float64))
        pixels = np.stack([u, v], -1).reshape(-1, 2)
        rays = np.ones((len(pixels), 3))
        rays[:, 0] = (pixels[:, 0] - self.K[0, 2]) / self.K[0, 0]
        rays[:, 1] = (pixels[:, 1] - self.K[1, 2]) / self.K[1, 1]
        if self.D.any() and len(pixels):
            rays[:, :2] = self._undistorted(pixels)
        if not np.array_equal(self.R, np.eye(3)):
            rays = rays @ self.R.T
            rays /= np.where(rays[:, 2:] > 0, rays[:, 2:], np.nan)
        return rays.reshape((*u.shape, 3))

    def project(self, xyz: ArrayLike) -> NDArray[np.float64]:
        """Pixels (..., 2) of points (..., 3) in the optical frame; NaN for z <= 0."""
        xyz = np.asarray(xyz, np.float64)
        points = xyz.reshape(-1, 3) @ self.R
        points = np.where(points[:, 2:] > 0, points, np.nan)
        return self._distorted(points).reshape((*xyz.shape[:-1], 2))

    def _distorted(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(points):
            return np.zeros((0, 2))
        zero = np.zeros(3)
        if self.distortion_model == 'equidistant':
            pixels, _ = cv2.fisheye.projectPoints(points[None], zero, zero, self.K, self._D4())
        else:
            D = self.D if len(self.D) else np.zeros(4)
            pixels, _ = cv2.projectPoints(points[None], zero, zero, self.K, D)
        return np.asarray(pixels, np.float64).reshape(-1, 2)

    def _undistorted(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.distortion_model == 'equidistant':
            start = cv2.fisheye.undistortPoints(pixels[:, None], self.K, self._D4())
        else:
            start = cv2.undistortPoints(pixels[:, None], self.K, self.D)
        return self._converged(np.asarray(start, np.float64).reshape(-1, 2), pixels)

    def _converged(
        self, xy: NDArray[np.float64], pixels: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Newton's iteration on the projection: OpenCV stops after a few fixed-point steps."""
        step = 1e-6
        error = np.full(len(xy), np.inf)
        for _ in range(8):
            shifted = np.concatenate([xy, np.add(xy, (step, 0)), np.add(xy, (0, step))])
            projected = self._distorted(np.column_stack([shifted, np.ones(len(shifted))]))
            at, right, down = np.split(projected, 3)
            off = pixels - at
            error = np.abs(off).max(1)
            if not (error > 1e-9).any():
                break
            a, c = ((right - at) / step).T
            b, d = ((down - at) / step).T
            det = a * d - b * c
            with np.errstate(divide='ignore', invalid='ignore'):
                xy = (
                    xy
                    + np.stack([d * off[:, 0] - b * off[:, 1], a * off[:, 1] - c * off[:, 0]], 1)
                    / det[:, None]
                )
        return np.where((error < 1e-3)[:, None], xy, np.nan)

    def _D4(self) -> NDArray[np.float64]:
        return self.D if len(self.D) else np.zeros(4)

    def resized(self, width: int, height: int) -> CameraModel:
        """The model of the same view in an image of another size.

        Raises CameraSizeMismatch when the two sizes differ in shape by more than a pixel.
        """
        if (width, height) == (self.width, self.height):
            return self
        sx, sy = width / self.width, height / self.height
        if abs(sx * self.height - height) > 1 and abs(sy * self.width - width) > 1:
            raise CameraSizeMismatch(
                f'camera_info is for {self.width}x{self.height} but the image is {width}x{height}: '
                'not the same view; remap camera_info to the topic that belongs to the image'
            )
        K = self.K.copy()
        K[0] *= sx
        K[1] *= sy
        K[0, 2] += (sx - 1) / 2
        K[1, 2] += (sy - 1) / 2
        return replace(self, width=width, height=height, K=K)

    @classmethod
    def from_camera_info_fields(
        cls,
        width: int,
        height: int,
        K: Sequence[float],
        D: Sequence[float] = (),
        distortion_model: str = 'plumb_bob',
        *,
        R: Sequence[float] = (),
        P: Sequence[float] = (),
        binning_x: int = 0,
        binning_y: int = 0,
        roi: tuple[int, int, int, int] = (0, 0, 0, 0),
        rectified: bool = False,
        image_size: tuple[int, int] | None = None,
    ) -> CameraModel:
        """The model that the plain numbers of a sensor_msgs/CameraInfo describe.

        roi: (x_offset, y_offset, width, height) in full resolution pixels; zeros mean all of it.
        rectified: the image is rectified: P is used, and no distortion; otherwise K and D.
        image_size: (width, height) of the image that came with it, checked and scaled to.
        Raises UncalibratedCamera, UnsupportedDistortion, CameraSizeMismatch.
        """
        rotation = np.reshape(np.asarray(R, float), (3, 3)) if np.any(R) else np.eye(3)
        if rectified and np.any(P):
            matrix = np.reshape(np.asarray(P, float), (3, 4))[:, :3]
            model = cls(width, height, matrix)
        elif rectified:
            model = cls(width, height, np.reshape(np.asarray(K, float), (3, 3)))
        else:
            matrix = np.reshape(np.asarray(K, float), (3, 3))
            model = cls(width, height, matrix, np.asarray(D, float), distortion_model, rotation)
        model = model._cropped(roi)._binned(binning_x or 1, binning_y or 1)
        return model if image_size is None else model.resized(*image_size)

    def _cropped(self, roi: tuple[int, int, int, int]) -> CameraModel:
        x, y, width, height = roi
        if not any(roi):
            return self
        K = self.K.copy()
        K[:2, 2] -= (x, y)
        return replace(self, width=width or self.width, height=height or self.height, K=K)

    def _binned(self, bx: int, by: int) -> CameraModel:
        if bx == by == 1:
            return self
        K = self.K.copy()
        K[0] /= bx
        K[1] /= by
        return replace(self, width=self.width // bx, height=self.height // by, K=K)


def _checked_distortion(model: str, D: ArrayLike) -> tuple[str, NDArray[np.float64]]:
    D = np.asarray(D, np.float64).reshape(-1)
    name = {'': 'plumb_bob', 'fisheye': 'equidistant'}.get(model, model)
    if not np.all(np.isfinite(D)):
        raise UncalibratedCamera('camera_info has NaN or Inf distortion: calibrate the camera')
    if not D.any():
        return ('plumb_bob' if name not in COEFFICIENTS else name), np.zeros(0)
    if name not in COEFFICIENTS:
        raise UnsupportedDistortion(
            f"distortion model '{model}' is not one of {', '.join(COEFFICIENTS)}: "
            'rectify the image first (image_proc) and ask on the rectified topic'
        )
    return name, D
