# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what the depth shows as one thing may be two that touch: by its outline, its heights and
its colors.

Between two things that touch side by side the outline is narrow. Where one lies on the flat top of
the other the heights have a step. Two things often have two colors, too; so has a brush, but it has
no dent where they meet, and a hammer, but there one color is a rod that ends at the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera_model import CameraModel
from .extent import Extent
from .lift_settings import LiftSettings
from .place import Paint
from .windows import Bools, Floats, Integers, along_rays, distances

_DRAWN = 96  # pixels along the longer side of an outline
_NECK = 0.65  # of the width of the narrower part: what is less between two is a neck
_FINER = 0.88  # from one width that is tried to the next
_LONG = 2.8  # times as long as wide: narrow places and colors of such a tool are its own
_LEAST_PART = 0.15  # of what is seen, or it is a stalk, a handle or a flame
_LEAST_WIDE = 3.0  # pixels of half a part's width, or it is the pixels that make the neck
_TOP, _STEP = 0.012, 0.01  # metres that a top is high, and that what lies on it is higher
_LEAST_TOP, _LEAST_ON = 0.08, 0.08  # of what is seen
_BAND = 0.003  # metres about its height that count as the top, or the noise of a reading
_LEAN = 0.2  # tangent of what a top may lean, beside noise
_SMOOTH = 3  # pixels over which heights are averaged
_TRIED = 40  # heights of a top
_GREY = 90.0  # of three times 255: what is darker has hardly a color
_APART = 0.2  # how far colors are apart, where red and grey are by 0.8
_SPREAD = 0.36  # of that: how they vary at most
_WHOLE = 0.85  # of each color that must be one piece, or it is a pattern
_DENT = 0.05  # of what is seen, that is missing to a convex outline between two
_ROD = 2.2  # times as long as wide: if it ends at the other color it is a handle or a blade,
_END = (0.85, 2.0)  # meeting it over so many times its width,
_NEAR_END = 0.15  # and within that share of its length


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What is seen of a thing, pixel by pixel. mask: (h, w). points: (h, w, 3) metres in the frame
    of the camera. heights: (h, w) metres over what it stands on. sigma: metres, noise of a reading.
    """

    mask: Bools
    points: Floats
    heights: Floats
    sigma: float

    @classmethod
    def of(
        cls, extent: Extent, depth: NDArray[np.float32], camera: CameraModel, lift: LiftSettings
    ) -> _Drawn:
        mask, column, row = _mask_of(extent)
        u, v = extent.pixels.T
        z = depth[v, u].astype(np.float64)
        seen = along_rays(camera.ray(u, v), z)
        points = np.full((*mask.shape, 3), np.nan)
        points[row, column] = seen
        heights = np.full(mask.shape, np.nan)
        assert extent.plane is not None
        heights[row, column] = extent.plane.height(seen)
        noise = lift.for_width(depth.shape[1]).noise
        sigma = noise.sigma(np.median(z), float(camera.K[0, 0]))
        return cls(mask, points, heights, float(sigma))


def _mask_of(extent: Extent) -> tuple[Bools, Integers, Integers]:
    """(h, w) which pixels an extent has, with a margin, and the (N,) columns and rows of these."""
    column, row = np.asarray((extent.pixels - extent.pixels.min(0)).T // extent.pitch + 1)
    mask = np.zeros((row.max() + 2, column.max() + 2), bool)
    mask[row, column] = True
    return mask, column, row


def parts_by_shape(
    extent: Extent, depth: NDArray[np.float32], camera: CameraModel, lift: LiftSettings
) -> str:
    """Why an extent may be several things, in words; '' where its shape does not say so.

    extent: in the frame of the camera that saw the depth image (H, W), metres.
    """
    if extent.plane is None:
        return ''
    drawn = _Drawn.of(extent, depth, camera, lift)
    if _on_top(drawn):
        return 'something stands out of its flat top'
    if _has_neck(drawn.mask):
        return 'it is narrow between two wider parts'
    return ''


def parts_by_color(
    extent: Extent, depth: NDArray[np.float32], camera: CameraModel, paint: Paint
) -> str:
    """The same by the colors that the extent's pixels have in the picture."""
    mask, column, row = _mask_of(extent)
    if not _is_dented(mask):
        return ''
    u, v = extent.pixels.T
    image = np.zeros((*mask.shape, 3), np.uint8)
    image[row, column] = paint(along_rays(camera.ray(u, v), depth[v, u].astype(np.float64)))
    return 'it has two colors, with a dent between them' if _has_two_colors(mask, image) else ''


def _has_neck(mask: Bools) -> bool:
    outline = _outline(mask)
    if not _is_dented(outline):
        return False
    away = _inner_distance(outline)
    widest = float(away.max())
    level = _NECK * widest
    while level > _NECK * _LEAST_WIDE:
        count, labels = cv2.connectedComponents((away > level).astype(np.uint8))
        if count > 2:
            tops = np.zeros(count)
            np.maximum.at(tops, labels.ravel().astype(np.intp), away.ravel())
            tops[0] = 0.0
            one, other = np.argsort(-tops)[:2]
            if tops[other] > level / _NECK:
                parts = _shared(outline, labels == one, labels == other)
                if min(part.sum() for part in parts) > _LEAST_PART * outline.sum():
                    return True
        level *= _FINER
    return False


def _is_dented(mask: Bools) -> bool:
    """Whether it may be two things: a tool is long, and hardly any thing is dented."""
    dented = _hull(mask) > (1 + _DENT) * np.count_nonzero(mask)
    return bool(dented and _ratio(mask) < _LONG)


def _outline(mask: Bools) -> Bools:
    """The mask without holes and specks, as large as is drawn."""
    filled = np.zeros([side + 4 for side in mask.shape], np.uint8)
    closed = cv2.morphologyEx(np.pad(mask.astype(np.uint8), 2), cv2.MORPH_CLOSE, np.ones((3, 3)))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled, contours, -1, 255, -1)
    scale = _DRAWN / max(filled.shape)
    size = [max(round(scale * side), 1) for side in filled.shape[::-1]]
    drawn = cv2.resize(
        filled, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return np.asarray(cv2.medianBlur(drawn, 5) > 127)


def _inner_distance(mask: Bools) -> NDArray[np.float32]:
    """Pixels to where the mask ends."""
    padded = np.pad(mask.astype(np.uint8), 1)
    away = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    return np.asarray(np.maximum(away - 0.5, 0), np.float32)


def _shared(mask: Bools, one: Bools, other: Bools) -> tuple[Bools, Bools]:
    """The mask's pixels that are nearer to the one, and those nearer to the other."""
    nearer = _outer_distance(one) <= _outer_distance(other)
    return mask & nearer, mask & ~nearer


def _outer_distance(mask: Bools) -> NDArray[np.float32]:
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _on_top(drawn: _Drawn) -> bool:
    """Whether a level top is seen, and much that is higher than it."""
    level = drawn.mask & _level(drawn)
    seen = np.count_nonzero(drawn.mask)
    high = np.sort(drawn.heights[drawn.mask])
    tops = np.sort(drawn.heights[level & (drawn.heights > _TOP)])
    band = 2 * max(_BAND, drawn.sigma)

    def within(heights: Floats, low: Floats) -> Integers:
        return np.searchsorted(heights, low + band) - np.searchsorted(heights, low)

    low = tops[:: max(1, len(tops) // _TRIED)]
    count = within(tops, low)
    # What leans, or is round, is as much at the next heights.
    beside = np.maximum(within(tops, low - band), within(tops, low + band))
    front = np.maximum(within(high, low - band), within(high, low + band))
    sure = (count > _LEAST_TOP * seen) & (count > 2 * beside) & (within(high, low) > front)
    if not sure.any():
        return False
    top = low[int(np.argmax(np.where(sure, count, 0)))]
    over = drawn.mask & (drawn.heights > top + band + max(_STEP, 3 * drawn.sigma))
    return bool(_largest(over).sum() > _LEAST_ON * seen)


def _level(drawn: _Drawn) -> Bools:
    """Where the surface leans by no more than noise lets a level one."""
    size = (_SMOOTH, _SMOOTH)
    share = cv2.blur(drawn.mask.astype(np.float64), size).clip(1e-9)[..., None]
    values = np.concatenate([drawn.points, drawn.heights[..., None]], -1)
    smooth = cv2.blur(np.where(drawn.mask[..., None], values, 0.0), size) / share
    level = np.ones(drawn.mask.shape, bool)
    for axis in (0, 1):
        step = np.full(smooth.shape, np.inf)
        inner, ahead, behind = [slice(None)] * 2, [slice(None)] * 2, [slice(None)] * 2
        inner[axis], ahead[axis], behind[axis] = slice(1, -1), slice(2, None), slice(None, -2)
        step[tuple(inner)] = smooth[tuple(ahead)] - smooth[tuple(behind)]
        far = distances(step[..., :3], np.zeros(3))
        level &= np.abs(step[..., 3]) < _LEAN * far + drawn.sigma / 2
    return level


def _largest(mask: Bools) -> Bools:
    """The largest connected part."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    if count < 2:
        return mask
    return np.asarray(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax())


def _has_two_colors(mask: Bools, image: NDArray[np.uint8]) -> bool:
    """Whether it is of two colors that are as two things beside each other."""
    both = _two_colors(mask, image)
    return both is not None and _two_things(mask, *both)


def _two_colors(mask: Bools, image: NDArray[np.uint8]) -> tuple[Bools, Bools] | None:
    """The pixels of either color, if there are two that are clearly apart; light does not count."""
    chroma = _chroma(np.asarray(cv2.medianBlur(image, 3), np.uint8))[mask]
    middle = chroma.mean(0)
    first = np.linalg.eigh(np.cov((chroma - middle).T))[1][:, -1]
    one = (chroma - middle) @ first < 0
    for _ in range(6):
        if one.all() or not one.any():
            return None
        a, b = chroma[one].mean(0), chroma[~one].mean(0)
        to_a, to_b = ((chroma - a) ** 2).sum(1), ((chroma - b) ** 2).sum(1)
        one = to_a < to_b
    apart = float(np.linalg.norm(a - b))
    spread = float(np.sqrt(np.minimum(to_a, to_b).mean()))
    if apart < _APART or spread > _SPREAD * apart:
        return None
    found = np.zeros(mask.shape, bool)
    found[mask] = one
    return found, mask & ~found


def _chroma(image: NDArray[np.uint8]) -> Floats:
    """(..., 2) color without lightness, near 0 for grey and dark."""
    red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
    light = red + green + blue + _GREY
    return np.stack([red - green, 0.58 * (red + green - 2 * blue)], -1) / light[..., None]


def _two_things(mask: Bools, one: Bools, other: Bools) -> bool:
    """Whether both colors are parts that lie beside each other as two things do."""
    pieces = _largest(one), _largest(other)
    if any(
        piece.sum() < _WHOLE * color.sum()
        for piece, color in zip(pieces, (one, other), strict=True)
    ):
        return False
    parts = [_largest(part) for part in _shared(mask, *pieces)]
    seen = np.count_nonzero(mask)
    if min(part.sum() for part in parts) < _LEAST_PART * seen:
        return False
    if _hull(mask) - sum(_hull(part) for part in parts) < _DENT * seen:
        return False
    widths = [2 * float(_inner_distance(part).max()) for part in parts]
    rod = parts[int(np.argmin(widths))]
    if _ratio(rod) < _ROD:
        return True
    kernel = np.ones((3, 3), np.uint8)
    reached = [cv2.dilate(part.astype(np.uint8), kernel) > 0 for part in parts]
    meet = parts[0] & reached[1] | parts[1] & reached[0]
    over, _ = _sides(meet)
    return not (_END[0] < over / min(widths) < _END[1] and _at_end(rod, meet))


def _at_end(rod: Bools, meet: Bools) -> bool:
    """Whether the middle of what meets another part is at an end of a rod."""
    pixels = np.argwhere(rod)
    middle = pixels.mean(0)
    first = np.linalg.eigh(np.cov((pixels - middle).T))[1][:, -1]
    along = (pixels - middle) @ first
    at = float((np.argwhere(meet).mean(0) - middle) @ first)
    return (
        not along.min() + _NEAR_END * np.ptp(along) < at < along.max() - _NEAR_END * np.ptp(along)
    )


def _hull(mask: Bools) -> float:
    """Pixels within the convex outline."""
    outline = _contour(mask)
    # Half a pixel more on all sides.
    return float(cv2.contourArea(cv2.convexHull(outline)) + np.ptp(outline, axis=0).sum() + 1)


def _ratio(mask: Bools) -> float:
    """How many times as long as wide it is."""
    long, wide = _sides(mask)
    return long / wide


def _sides(mask: Bools) -> tuple[float, float]:
    """Pixels along and across the smallest rectangle around it."""
    _, sides, _ = cv2.minAreaRect(_contour(mask))
    return max(sides) + 1, min(sides) + 1


def _contour(mask: Bools) -> NDArray[np.int32]:
    """(K, 2) columns and rows of the pixels at its border."""
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return np.asarray(np.concatenate(contours)[:, 0], np.int32)
