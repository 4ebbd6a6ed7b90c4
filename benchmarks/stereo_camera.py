# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a stereo depth camera makes of a perfect depth image.

The left imager is the color camera, the right one stands a baseline to its right. In the order of
the code: near things smeared outwards and the background let in, as matching windows do; smooth
noise in disparity (so in depth it grows with z squared), disparities mixed at depth edges (flying
pixels), quantisation; then what has no reading: what the right imager does not see, part of the
edges, grazing surfaces, holes (shine, glass, no texture) and single pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.spatial import CameraModel

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class StereoCamera:
    """The flaws of a stereo camera.

    baseline: metres. sigma, step: pixels of disparity, standard deviation and quantum of the noise.
    blur: pixels, standard deviation of the kernel that smooths it. edge_loss, edge_mix: chance that
    a pixel at a depth edge has no reading, or one between the two sides. grazing: cosine of the
    angle to the surface normal from which readings begin to fail. holes: how many an image.
    hole_size: pixels, smallest and largest half axis. pixel_loss: chance of no reading anywhere.
    smear: pixels, how far near things reach over their outlines at most. inside: whether pixels
    within an outline read the background now and then: 20, 9 and 4 in a hundred at 1, 2 and 3
    pixels.
    """

    baseline: float = 0.05
    sigma: float = 0.08
    step: float = 1 / 32
    blur: float = 1.0
    edge_loss: float = 0.5
    edge_mix: float = 0.3
    grazing: float = 0.3
    holes: int = 12
    hole_size: tuple[int, int] = (1, 6)
    pixel_loss: float = 0.005
    smear: float = 0.0
    inside: bool = False

    def see(
        self,
        depth: NDArray[np.float32],
        normals: Floats,
        camera: CameraModel,
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """The depth image (H, W) in metres, NaN without a reading, of a perfect one."""
        scale = camera.K[0, 0] * self.baseline
        true = np.nan_to_num(scale / depth.astype(np.float64))
        true = self._matched(true, rng)
        edge = _edges(true)
        mixed = edge & (rng.random(edge.shape) < self.edge_mix)
        disparity = np.where(mixed, cv2.GaussianBlur(true, (3, 3), 1.0), true)
        disparity += self.sigma * _smooth_noise(edge.shape, self.blur, rng)
        disparity = np.round(disparity / self.step) * self.step
        lost = (edge & ~mixed & (rng.random(edge.shape) < self.edge_loss)) | _shadow(true)
        lost |= rng.random(edge.shape) < 1 - _slant(normals, camera) / self.grazing
        lost |= self._holes(edge.shape, rng) | (rng.random(edge.shape) < self.pixel_loss)
        lost |= disparity <= 0
        return np.where(lost, np.nan, scale / np.where(lost, 1, disparity)).astype(np.float32)

    def _matched(self, true: Floats, rng: np.random.Generator) -> Floats:
        """Disparity as windows see it: outlines are where the window is, not where the thing is."""
        seen = true
        if self.inside:
            seen = np.where(_background(true, rng), cv2.erode(true, _disc(4)), seen)
        if self.smear > 0:
            part = _smooth_share(true.shape, rng) * self.smear
            for reach in range(1, int(np.ceil(self.smear)) + 1):
                seen = np.where(part > reach - 0.5, true + _risen(true, reach), seen)
        return np.asarray(seen)

    def _holes(self, shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
        image = np.zeros(shape, np.uint8)
        low, high = self.hole_size
        for _ in range(self.holes):
            centre = int(rng.integers(shape[1])), int(rng.integers(shape[0]))
            axes = int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))
            cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        return image > 0


# As measured on RealSense (docs/accuracy.md) of frames 640 and 1280 pixels wide: noise that reaches
# over several pixels, outlines that do not hold.
REALSENSE = StereoCamera(sigma=0.12, blur=5.0, smear=3.0, inside=True, edge_loss=0.2, edge_mix=0.1)
REALSENSE_WIDE = replace(REALSENSE, sigma=0.27, blur=2.6)


def _disc(radius: int) -> NDArray[np.uint8]:
    size = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _risen(disparity: Floats, reach: int) -> Floats:
    """How much nearer something within reach is, beside what the surface here slopes.

    A window on a slope sees as much that is nearer as that is farther, and errs by neither.
    """
    near, far = cv2.dilate(disparity, _disc(reach)), cv2.erode(disparity, _disc(reach))
    return np.maximum((near - disparity) - (disparity - far), 0)


def _smooth_share(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Even shares of one that change over some pixels."""
    noise = _smooth_noise(shape, 3.0, rng)
    return np.asarray(np.argsort(np.argsort(noise, axis=None)).reshape(shape) / noise.size)


def _background(disparity: Floats, rng: np.random.Generator) -> Mask:
    """Pixels within an outline that read what is behind it."""
    chance = np.zeros(disparity.shape)
    for inside, share in ((3, 0.04), (2, 0.09), (1, 0.20)):
        behind = cv2.erode(disparity, _disc(inside))
        chance[disparity - behind > np.maximum(0.5, 0.04 * disparity)] = share
    return np.asarray(_smooth_share(disparity.shape, rng) < chance)


def _edges(disparity: Floats) -> Mask:
    square = np.ones((3, 3), np.uint8)
    jump = cv2.dilate(disparity, square) - cv2.erode(disparity, square)
    return np.asarray(jump > np.maximum(0.5, 0.04 * disparity))


def _smooth_noise(shape: tuple[int, ...], blur: float, rng: np.random.Generator) -> Floats:
    """Noise of unit variance, white noise blurred."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), blur)
    return np.asarray(noise / noise.std())


def _shadow(disparity: Floats) -> Mask:
    """Pixels that something nearer hides from the right imager."""
    height, width = disparity.shape
    rows, columns = np.mgrid[:height, :width]
    right = np.round(columns - disparity).astype(int)
    seen = (right >= 0) & (right < width)
    nearest = np.zeros((height, width))
    np.maximum.at(nearest, (rows[seen], right[seen]), disparity[seen])
    hidden = np.zeros(disparity.shape, bool)
    hidden[seen] = nearest[rows[seen], right[seen]] > disparity[seen] + 1
    return hidden


def _slant(normals: Floats, camera: CameraModel) -> Floats:
    """Cosine of the angle between each pixel's ray and its surface normal."""
    rows, columns = np.indices(normals.shape[:2])
    rays = camera.ray(columns, rows)
    return np.abs((normals * rays).sum(2)) / np.linalg.norm(rays, axis=2)
