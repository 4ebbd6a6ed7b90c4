# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera geometry: from pixels to rays in the optical frame and back.

The pixel convention is OpenCV's and ROS's: (0, 0) is the centre of the top left pixel, u to the
right, v down. The optical frame is REP-103's: x right, y down, z forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike, NDArray

from molmo_ros.errors import shortened

from .calibration import (
    CameraSizeMismatch,
    UncalibratedCamera,
    UnsupportedDistortion,
    camera_matrix,
    coefficients,
    rectification,
)

# The most coefficients a model may have, in OpenCV's order.
_MOST_COEFFICIENTS = {
    'plumb_bob': 5,
    'rational_polynomial': 14,
    'thin_prism': 14,
    'equidistant': 4,
}
_CONVERGED = 1e-8
# Where the reach of an uneven lens is looked for: rings up to an angle to the axis in radians, a
# third of a degree apart, and the least slope there, so that no fold hides between two of them.
_SIDEWAYS, _RINGS, _SPOKES = 1.56, 256, 16
_LEAST_SLOPE = 0.01
_NEGLIGIBLE = 1e-12  # of a coefficient, which would make roots overflow
_OPENCV_LENGTHS = (4, 5, 8, 12, 14)
_ALIASES = {'': 'plumb_bob', 'none': 'plumb_bob', 'fisheye': 'equidistant'}


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
        if self.width < 1 or self.height < 1:
            raise UncalibratedCamera('the camera_info has no image size: the driver must fill it')
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
        u, v = np.asarray(u, np.float64), np.asarray(v, np.float64)
        shape = np.broadcast_shapes(u.shape, v.shape)
        rays = np.ones((*shape, 3))
        rays[..., 0] = (u - self.K[0, 2]) / self.K[0, 0]
        rays[..., 1] = (v - self.K[1, 2]) / self.K[1, 1]
        rays = rays.reshape(-1, 3)
        if self._bends and len(rays):
            pixels = np.stack(np.broadcast_arrays(u, v), -1).reshape(-1, 2)
            rays[:, :2] = self._undistorted(pixels)
        if not np.array_equal(self.R, np.eye(3)):
            rays = rays @ self.R.T
            rays /= np.where(rays[:, 2:] > 0, rays[:, 2:], np.nan)
        return rays.reshape((*shape, 3))

    def project(self, xyz: ArrayLike) -> NDArray[np.float64]:
        """Pixels (..., 2) of points (..., 3) in the optical frame.

        NaN for z <= 0, and where the lens model does not hold any more, so that no pixel is that
        of two rays.
        """
        xyz = np.asarray(xyz, np.float64)
        points = xyz.reshape(-1, 3) @ self.R
        points[~(points[:, 2] > 0)] = np.nan
        return self._distorted(points).reshape((*xyz.shape[:-1], 2))

    @property
    def _bends(self) -> bool:
        """Whether this is more than a pinhole; a fisheye is, even without coefficients."""
        return self.distortion_model == 'equidistant' or bool(self.D.any())

    @cached_property
    def _reach(self) -> float:
        """The tangent of the angle to the axis up to which the lens model holds.

        Beyond, its radius in pixels shrinks again, and two rays would have the same pixel.
        """
        if self.distortion_model == 'equidistant':
            powers = np.append(1.0, self.D if len(self.D) else np.zeros(4))
            grows = Polynomial(powers * (1, 3, 5, 7, 9))
            angle = np.sqrt(_first_root(grows))
            return float(np.tan(angle)) if angle < np.pi / 2 else np.inf
        k1, k2, _, _, k3, k4, k5, k6, *_ = np.pad(self.D, (0, 14 - len(self.D)))
        above, below = Polynomial([1, k1, k2, k3]), Polynomial([1, k4, k5, k6])
        turn = above.deriv() * below - above * below.deriv()
        grows = above * below + Polynomial([0, 2]) * turn
        reach = float(np.sqrt(min(_first_root(grows), _first_root(below))))
        uneven = self.D[2:4].any() or self.D[8:].any()  # tangential, prism and tilt
        return _uneven_reach(tuple(self.D), reach) if uneven else reach

    def _distorted(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(points):
            return np.zeros((0, 2))
        if not self._bends:
            pixels = np.empty((len(points), 2))
            for axis in (0, 1):  # NumPy is slow at many rows of two.
                tangents = points[:, axis] / points[:, 2]
                pixels[:, axis] = tangents * self.K[axis, axis] + self.K[axis, 2]
            return pixels
        pixels, jacobian = self._projected(points)
        with np.errstate(invalid='ignore', over='ignore'):
            off_axis = np.hypot(points[:, 0], points[:, 1]) / points[:, 2]
            holds = (_determinant(jacobian) > 0) & (off_axis < self._reach)
        return np.where(holds[:, None], pixels, np.nan)

    def _projected(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels (N, 2) of points (N, 3), and how they move with x and y: (N, 2, 2)."""
        zero = np.zeros(3)
        D = self.D if len(self.D) else np.zeros(4)
        if self.distortion_model == 'equidistant':
            pixels, jacobian = cv2.fisheye.projectPoints(points[None], zero, zero, self.K, D)
            by_translation = jacobian[:, 11:13]
        else:
            pixels, jacobian = cv2.projectPoints(points[None], zero, zero, self.K, D)
            by_translation = jacobian[:, 3:5]
        return (
            np.asarray(pixels, np.float64).reshape(-1, 2),
            np.asarray(by_translation, np.float64).reshape(-1, 2, 2),
        )

    def _undistorted(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the rays of pixels (N, 2) meet z = 1: (N, 2), NaN where they do not.

        Newton's iteration on OpenCV's projection, from OpenCV's own inverse, which stops after a
        few fixed-point steps.
        """
        if self.distortion_model == 'equidistant':
            D = self.D if len(self.D) else np.zeros(4)
            start = cv2.fisheye.undistortPoints(pixels[:, None], self.K, D)
        else:
            start = cv2.undistortPoints(pixels[:, None], self.K, self.D)
        xy = np.asarray(start, np.float64).reshape(-1, 2)
        left = np.arange(len(xy))
        for _ in range(15):
            at, jacobian = self._projected(np.column_stack([xy[left], np.ones(len(left))]))
            off_u, off_v = (pixels[left] - at).T
            (a, b), (c, d) = jacobian.transpose(1, 2, 0)
            with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
                determinant = a * d - b * c
                # Where the mapping turns over, the lens model does not hold any more.
                good = (determinant > 0) & (np.abs(off_u) + np.abs(off_v) < _CONVERGED)
                good &= np.hypot(*xy[left].T) < self._reach
                bad = ~good
                if not bad.any():
                    return xy
                step = np.stack([d * off_u - b * off_v, a * off_v - c * off_u], 1)
                xy[left[bad]] += step[bad] / determinant[bad, None]
            left = left[bad]
        xy[left] = np.nan
        return xy

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
                'not the same view; remap camera_info to the one that comes with the image'
            )
        return self._scaled(width, height, sx, sy)

    def _scaled(self, width: int, height: int, sx: float, sy: float) -> CameraModel:
        """Pixels become areas of another size; their centres stay at whole numbers."""
        K = self.K.copy()
        K[0] *= sx
        K[1] *= sy
        K[:2, 2] += ((sx - 1) / 2, (sy - 1) / 2)
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

        width, height, K, P: of the full resolution. K: 9 numbers, R: 9, P: 12, row by row.
        roi: (x_offset, y_offset, width, height) in pixels of the full resolution; zeros: all of it.
        binning_x, binning_y: how many pixels were joined to one; 0 means 1.
        rectified: the image is rectified: P holds, without distortion. Otherwise K and D hold, and
        R turns the rays into the frame that ROS means, that of the rectified image.
        image_size: (width, height) of the image that came with it, to be scaled to.
        A P of zeros counts as not given, and K holds in its place.
        The fourth column of P is left out: positions are relative to the camera's own centre.
        Raises CalibrationError for what is none, or not that of such an image.
        """
        if width < 1 or height < 1:
            raise UncalibratedCamera('the camera_info has no image size: the driver must fill it')
        if rectified:
            numbers, name = (P, 'P') if np.any(P) else (K, 'K')
            model = cls(width, height, camera_matrix(numbers, name, width, height))
        else:
            try:
                matrix = camera_matrix(K, 'K', width, height)
            except UncalibratedCamera as error:
                raise _with_word_of_P(error, P, width, height) from error
            model = cls(width, height, matrix, coefficients(D), distortion_model, rectification(R))
        if not np.isfinite(model.ray((width - 1) / 2, (height - 1) / 2)).all():
            raise UncalibratedCamera(
                'the distortion D leaves no ray for the middle of the picture: calibrate the '
                'camera again, or correct the distortion model'
            )
        model = model._cropped(roi)._binned(binning_x or 1, binning_y or 1)
        return model if image_size is None else model.resized(*image_size)

    def _cropped(self, roi: tuple[int, int, int, int]) -> CameraModel:
        x, y, width, height = roi
        if not any(roi):
            return self
        if x + (width or 1) > self.width or y + (height or 1) > self.height:
            raise UncalibratedCamera(
                f'the ROI {width}x{height} at ({x}, {y}) is not within the {self.width}x'
                f'{self.height} of the camera_info: the driver must give both in full resolution'
            )
        K = self.K.copy()
        K[:2, 2] -= (x, y)
        return replace(self, width=width or self.width, height=height or self.height, K=K)

    def _binned(self, x: int, y: int) -> CameraModel:
        if x == y == 1:
            return self
        if x > self.width or y > self.height:
            raise UncalibratedCamera(f'binning of {x}x{y} leaves no pixel: set it to 0 for none')
        return self._scaled(self.width // x, self.height // y, 1 / x, 1 / y)


def _with_word_of_P(
    error: UncalibratedCamera, P: Sequence[float], width: int, height: int
) -> UncalibratedCamera:
    """What is wrong with K, and that P would do if that is what is meant."""
    try:
        camera_matrix(P, 'P', width, height)
    except ValueError:
        return error
    return UncalibratedCamera(
        f'{error}; P does hold a calibration: if the image is rectified, set rectified'
    )


@lru_cache(maxsize=32)
def _uneven_reach(D: tuple[float, ...], most: float) -> float:
    """The tangent up to which the symmetric part of a lens's derivative is positive definite.

    On such a disc no two rays have the same pixel (Gale and Nikaido 1965, theorem 6). A
    determinant that is positive at a ray and at its pixel's other ray cannot tell that: the
    lens may have turned over twice between the two. Kept by lens, since every frame brings it.
    """
    radii = np.tan(np.linspace(0, min(np.arctan(most), _SIDEWAYS), _RINGS + 1))[1:]
    turn = np.linspace(0, 2 * np.pi, _SPOKES, endpoint=False)
    xy = radii[:, None, None] * np.column_stack([np.cos(turn), np.sin(turn)])
    zero, points = np.zeros(3), np.insert(xy.reshape(-1, 2), 2, 1.0, axis=1)
    _, jacobian = cv2.projectPoints(points[None], zero, zero, np.eye(3), np.array(D))
    slope = np.asarray(jacobian, np.float64)[:, 3:5].reshape(-1, 2, 2)
    symmetric = slope + slope.transpose(0, 2, 1) - 2 * _LEAST_SLOPE * np.eye(2)
    with np.errstate(invalid='ignore', over='ignore'):
        grows = (symmetric[:, 0, 0] > 0) & (_determinant(symmetric) > 0)
    good = grows.reshape(len(radii), -1).all(1)
    return most if good.all() else float(radii[max(int(np.argmin(good)) - 1, 0)])


def _determinant(jacobian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of matrices (N, 2, 2)."""
    (a, b), (c, d) = jacobian.transpose(1, 2, 0)
    return a * d - b * c


def _first_root(polynomial: Polynomial) -> float:
    """The smallest positive root of a polynomial; infinity if it has none."""
    roots = polynomial.trim(_NEGLIGIBLE).roots()
    real = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots)) & (roots.real > 0)]
    return float(real.min(initial=np.inf))


def _checked_distortion(model: str, D: ArrayLike) -> tuple[str, NDArray[np.float64]]:
    """The model's own name, and its coefficients at a length that OpenCV takes; empty for none."""
    D = np.trim_zeros(np.asarray(D, np.float64).reshape(-1), 'b')
    if not np.all(np.isfinite(D)):
        raise UncalibratedCamera('the distortion is NaN or Inf: calibrate the camera again')
    name = _ALIASES.get(model, model)
    if not len(D):
        return (name if name in _MOST_COEFFICIENTS else 'plumb_bob'), D
    if name not in _MOST_COEFFICIENTS:
        raise UnsupportedDistortion(
            f"distortion model '{shortened(model)}' is not one of "
            f'{", ".join(_MOST_COEFFICIENTS)}: rectify the image (image_proc) and ask on the '
            'rectified topic'
        )
    if len(D) > _MOST_COEFFICIENTS[name]:
        raise UnsupportedDistortion(
            f"{len(D)} coefficients are too many for distortion model '{name}': correct the "
            'calibration, or rectify the image (image_proc) and ask on the rectified topic'
        )
    length = next(n for n in _OPENCV_LENGTHS if n >= len(D))
    return name, np.pad(D, (0, length - len(D)))
