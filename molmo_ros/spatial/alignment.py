# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a depth image lies on its color image: by how many pixels their edges are apart.

Where depth jumps, the color image usually has an edge of the same direction. All shifts up to some
pixels are tried, and the one is taken that brings most of the depth's edges onto color edges. The
halves of the picture are measured by themselves as well: where they disagree, or where the best
shift stands out from the others too little, nothing is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera_model import CameraModel
from .registration import Registration

Floats = NDArray[np.float64]

REACH = 20
"""Pixels by which edges are looked for."""

# A jump of depth is an edge from this share of the depth on, and this many metres.
_JUMP_SHARE, _JUMP_METRES = 0.04, 0.02
# Pixels without a reading beside a thing's end.
_SHADOW = 12
_FEWEST_EDGES = 300
# Of the directions of edges: the least share that has to cross the ones that are most frequent.
_LEAST_ACROSS = 0.08
# How far the best shift has to stand out from those away from it, in their standard deviations.
_STANDS_OUT = 4.0
# Pixels: what is near the best shift, and how far halves of the picture may be from the whole.
_NEAR, _AGREE = 4, 4.0
_BLUR = 1.0
# By which factor the best shift is better than any away from it.
_BETTER = 1.05


@dataclass(frozen=True, eq=False)
class Alignment:
    """How far color edges are from those of the depth.

    Attributes:
        shift: (2,) pixels, right and down, from where depth has its edges to where the color image
            has them; NaN where it cannot be told.
        why_not: why it cannot be told; ''.
        edges: how many pixels of the depth image are edges.
        stands_out: of the best shift against those away from it, in standard deviations.
        parts: shifts of the left, right, upper and lower half, (4, 2), NaN where not known.
    """

    shift: Floats
    why_not: str
    edges: int
    stands_out: float
    parts: Floats

    @property
    def known(self) -> bool:
        """Whether there is a shift."""
        return bool(np.isfinite(self.shift).all())


def depth_edges(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W): the two pixels on either side of where something ends in front of something else.

    depth: (H, W) metres. Where readings are missing beside a thing, as in the shadow of a stereo
    or structured-light camera, its end is at its own last reading.
    """
    edges = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        for step in (1, -1):
            edges |= _ends(depth, axis, step)
    return edges


def _ends(depth: NDArray[np.float32], axis: int, step: int) -> NDArray[np.bool_]:
    """Where things end along an axis: their last pixel, and the next one."""
    beyond = np.full(depth.shape, np.nan, np.float32)
    for far in range(_SHADOW, 0, -1):
        shifted = _shifted(depth, axis, step * far)
        beyond = np.where(np.isfinite(shifted), shifted, beyond)
    with np.errstate(invalid='ignore'):
        jump = np.maximum(_JUMP_SHARE * depth, _JUMP_METRES)
        last = beyond - depth > jump
    return np.asarray(last | (_shifted(last.astype(np.float32), axis, -step) == 1))


def _shifted(image: NDArray[np.float32], axis: int, by: int) -> NDArray[np.float32]:
    """What is `by` pixels further along an axis; NaN beyond the picture."""
    moved = np.roll(image, -by, axis)
    border = [slice(None)] * 2
    border[axis] = slice(-by, None) if by > 0 else slice(None, -by)
    moved[tuple(border)] = np.nan
    return moved


def alignment(
    color: NDArray[np.uint8], depth: NDArray[np.float32], reach: int = REACH
) -> Alignment:
    """How a depth image (H, W) in metres lies on a color image (H, W, 3) of the same size."""
    edges = _edges_of(depth, reach)
    count = len(edges.rows)
    if edges.why_too_little:
        return _unknown(edges.why_too_little, count)
    field = _unit_gradient(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY).astype(np.float32))
    shift, stands_out = _best(_scores(field, edges, reach))
    if stands_out < _STANDS_OUT:
        return _unknown('no shift brings the edges together clearly', count, stands_out)
    parts = _parts(field, edges, reach, shift)
    apart = np.linalg.norm(parts - shift, axis=1)
    if np.nanmax(apart, initial=0.0) > _AGREE:
        return Alignment(
            np.full(2, np.nan),
            f'the halves of the picture disagree ({_told(parts)})',
            count,
            stands_out,
            parts,
        )
    return Alignment(shift, '', count, stands_out, parts)


def registered(
    depth: NDArray[np.float32], registration: Registration, camera: CameraModel
) -> NDArray[np.float32]:
    """(H, W) metres: a depth image of another camera as the color camera sees it, NaN elsewhere.

    The nearest surface wins; a reading covers as many pixels as it is wide there.
    """
    height, width = depth.shape
    v, u = np.mgrid[:height, :width]
    rays = registration.depth_camera.ray(u.ravel(), v.ravel())
    points = rays * depth.ravel()[:, None].astype(np.float64)
    T = registration.T_color_depth
    points = points[np.isfinite(points).all(1)] @ T[:3, :3].T + T[:3, 3]
    points = points[np.argsort(-points[:, 2], kind='stable')]
    pixels = camera.project(points)
    wide = int(np.clip(np.ceil(camera.K[0, 0] / registration.depth_camera.K[0, 0]), 1, 4))
    seen = np.full((camera.height, camera.width), np.nan, np.float32)
    nearest = np.full(seen.shape, np.inf, np.float32)
    for down in range(wide):
        for right in range(wide):
            at = np.rint(pixels - (wide - 1) / 2 + (right, down))
            with np.errstate(invalid='ignore'):
                good = ((at >= 0) & (at < (camera.width, camera.height))).all(1)
            column, row = at[good].astype(np.intp).T
            layer = np.full(seen.shape, np.inf, np.float32)
            layer[row, column] = points[good, 2]  # the last, and nearest, one stays
            nearest = np.minimum(nearest, layer)
    there = np.isfinite(nearest)
    seen[there] = nearest[there]
    return seen


def _unknown(why_not: str, edges: int, stands_out: float = 0.0) -> Alignment:
    return Alignment(np.full(2, np.nan), why_not, edges, stands_out, np.full((4, 2), np.nan))


@dataclass(frozen=True, eq=False)
class _Edges:
    """Pixels (N,) and (N,) of a depth image, and unit vectors (N, 2) across the edges there."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    normals: Floats

    @property
    def why_too_little(self) -> str:
        """Why a shift cannot follow from these; ''."""
        count = len(self.rows)
        if count < _FEWEST_EDGES:
            return f'depth has too few edges ({count} pixels)'
        across = float(np.linalg.eigvalsh(self.normals.T @ self.normals / count)[0])
        return '' if across >= _LEAST_ACROSS else 'all edges of the depth have one direction'


def _edges_of(depth: NDArray[np.float32], reach: int) -> _Edges:
    """Those whose shifted places are all inside the picture."""
    inside = np.zeros(depth.shape, bool)
    inside[reach:-reach, reach:-reach] = True
    rows, columns = np.nonzero(depth_edges(depth) & inside)
    gx, gy = _gradient(_log_depth(depth))
    across = np.stack([gx[rows, columns], gy[rows, columns]], 1)
    return _Edges(rows, columns, across / np.maximum(np.linalg.norm(across, axis=1)[:, None], 1e-9))


def _log_depth(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Near and far jumps weigh alike; what is missing is taken as the farthest."""
    with np.errstate(invalid='ignore', divide='ignore'):
        known = np.log(depth)
    good = np.isfinite(known)
    return np.where(good, known, known[good].max(initial=0.0)).astype(np.float32)


def _gradient(image: NDArray[np.float32]) -> tuple[Floats, Floats]:
    smooth = cv2.GaussianBlur(image, (0, 0), _BLUR)
    return (
        np.asarray(cv2.Scharr(smooth, cv2.CV_32F, 1, 0), np.float64),
        np.asarray(cv2.Scharr(smooth, cv2.CV_32F, 0, 1), np.float64),
    )


def _unit_gradient(gray: NDArray[np.float32]) -> Floats:
    """(H, W, 2) of a picture: one where there is a clear edge, less where it is faint."""
    gx, gy = _gradient(gray)
    size = np.hypot(gx, gy)
    faint = np.quantile(size, 0.8) + 1e-6
    return np.stack([gx, gy], -1) / np.hypot(size, faint)[..., None]


def _scores(field: Floats, edges: _Edges, reach: int) -> Floats:
    """(2 reach + 1, 2 reach + 1): how well edges meet at each shift, rows down.

    At a shift it is the mean of (n . g)^2, n across an edge of the depth and g the picture's
    gradient there; written out, that is three correlations.
    """
    shape = field.shape[:2]
    total = np.zeros((shape[0], shape[1] // 2 + 1), complex)
    for i, j, times in ((0, 0, 1), (0, 1, 2), (1, 1, 1)):
        plane = np.zeros(shape)
        plane[edges.rows, edges.columns] = edges.normals[:, i] * edges.normals[:, j]
        total += times * np.conj(np.fft.rfft2(plane)) * np.fft.rfft2(field[..., i] * field[..., j])
    correlation = np.fft.irfft2(total, shape) / len(edges.rows)
    return np.roll(correlation, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]


def _best(scores: Floats) -> tuple[Floats, float]:
    """The best shift, to fractions of a pixel, and how far it stands out."""
    reach = len(scores) // 2
    dy, dx = (int(index) for index in np.unravel_index(int(np.argmax(scores)), scores.shape))
    offsets = np.arange(len(scores))
    far = np.maximum(np.abs(offsets[:, None] - dy), np.abs(offsets[None] - dx)) > _NEAR
    others = scores[far]
    stands_out = float((scores[dy, dx] - others.mean()) / max(others.std(), 1e-9))
    at_the_end = min(dx, dy) == 0 or max(dx, dy) == 2 * reach
    if at_the_end or scores[dy, dx] < _BETTER * others.max():
        stands_out = 0.0
    return np.array([_peak(scores[dy], dx), _peak(scores[:, dx], dy)]) - reach, stands_out


def _peak(values: Floats, at: int) -> float:
    """Where the parabola through a largest value and its neighbours has its top."""
    if not 0 < at < len(values) - 1:
        return float(at)
    before, top, after = values[at - 1 : at + 2]
    bend = before - 2 * top + after
    return at + float(0.5 * (before - after) / bend) if bend < 0 else float(at)


def _parts(field: Floats, edges: _Edges, reach: int, whole: Floats) -> Floats:
    """(4, 2) shifts of the left, right, upper and lower half, NaN where not clear.

    A half that the shift of the whole suits almost as well has that.
    """
    left, upper = (
        places < size / 2
        for places, size in ((edges.columns, field.shape[1]), (edges.rows, field.shape[0]))
    )
    parts = np.full((4, 2), np.nan)
    for part, chosen in enumerate((left, ~left, upper, ~upper)):
        half = _Edges(edges.rows[chosen], edges.columns[chosen], edges.normals[chosen])
        if half.why_too_little:
            continue
        scores = _scores(field, half, reach)
        shift, stands_out = _best(scores)
        dx, dy = np.rint(whole).astype(int) + reach
        if scores[dy, dx] * _BETTER >= scores.max():
            parts[part] = whole
        elif stands_out >= _STANDS_OUT:
            parts[part] = shift
    return parts


def _told(parts: Floats) -> str:
    names = ('left', 'right', 'upper', 'lower')
    known = [(n, p) for n, p in zip(names, parts, strict=True) if np.isfinite(p).all()]
    return ', '.join(f'{name} {x:+.0f} {y:+.0f}' for name, (x, y) in known)
