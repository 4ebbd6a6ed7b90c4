# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a point can be carried by: corners on its surface, and places on its outline."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.tracking.view import View

Places = NDArray[np.float32]

LEAST = 4  # marks without which a point is lost
RELATIVE = 0.03  # of the depth: what may be on the same surface
_METRES = 0.015  # likewise
_REACHES = (20, 40, 80, 160)  # grey pixels around a point in which corners are looked for
_APART = 4.0  # grey pixels between corners
_QUALITY = 0.02  # of the best corner's
_SLOPE = 2.5  # grey levels a pixel, the weaker way across a corner: less is noise
_BLOCK = 5  # grey pixels that a corner's slopes are taken from
_ALIKE = 6  # grey levels within which a bare patch is one
_BARE = 60  # grey pixels of such a patch, at least
_EDGE = 4  # grey pixels around it in which its corners are


@dataclass(frozen=True, eq=False)
class Marks:
    """What a point is carried by.

    places: (N, 2) in pixels of the grey picture. normals: (N, 2) unit vectors across the outline
    that a mark is on, 0 for a corner. own: (N,) whether it is on the thing for all that is seen.
    """

    places: Places
    normals: Places
    own: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.places)


def tolerance(depth: NDArray[np.floating]) -> NDArray[np.floating]:
    """Metres that depths may differ on the same surface."""
    return np.maximum(RELATIVE * depth, _METRES)


def marks_around(view: View, place: Places, depth: float, count: int) -> Marks:
    """Up to so many marks of a place, the nearest reach first.

    Those on its surface, by the depth or by its even shade; where these are few, others too.
    """
    patch = _bare_patch(view, place)
    on = others = np.empty((0, 2), np.float32)
    for reach in _REACHES:
        found = _corners(view, place, reach, 3 * count)
        ours, known = _on_surface(view, found, depth, patch)
        on, others = found[ours], found[~ours & known]
        if len(on) >= count:
            break
    others = others[:: max(len(others) // count, 1)]
    edges, normals = _outline(view, patch, count)
    ours, _ = _on_surface(view, edges, depth, None)
    edges, normals = edges[ours], normals[ours]
    if np.isfinite(depth):  # the camera's motion is told by what is around
        on, edges, normals = on[: count // 2], edges[: count // 4], normals[: count // 4]
    else:
        room = count - min(count // 3, len(others))
        on = on[: room - min(len(edges), room) // 2]
        edges, normals = edges[: room - len(on)], normals[: room - len(on)]
    others = others[: max(count - len(on) - len(edges), 0)]
    own = [_within(on, patch), np.ones(len(edges), bool), np.zeros(len(others), bool)]
    return Marks(
        np.concatenate([on, edges, others]).astype(np.float32),
        np.concatenate([np.zeros_like(on), normals, np.zeros_like(others)]).astype(np.float32),
        np.concatenate(own),
    )


def _within(places: Places, patch: NDArray[np.uint8] | None) -> NDArray[np.bool_]:
    """(N,) whether places are in or around a patch; all are where there is none."""
    if patch is None:
        return np.ones(len(places), bool)
    columns, rows = places.astype(np.intp).T
    return np.asarray(patch[rows, columns] > 0)


def _on_surface(
    view: View, places: Places, depth: float, patch: NDArray[np.uint8] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) whether places are on the surface of a point, and whether that can be reckoned with."""
    if np.isfinite(depth):
        # What is seen of an outline belongs to the nearer side.
        nearest = view.depths(places, 2)[:, 0]
        return np.abs(nearest - depth) < tolerance(np.float64(depth)), np.isfinite(nearest)
    return _within(places, patch), np.ones(len(places), bool)


def _corners(view: View, place: Places, reach: int, count: int) -> Places:
    """(N, 2) corners in a square around a place, the clearest first."""
    crop, first = _crop(view, place, reach)
    apart = max(_APART, reach / 8)
    corners = cv2.goodFeaturesToTrack(crop, count, _QUALITY, apart, blockSize=_BLOCK)
    if corners is None:
        return np.empty((0, 2), np.float32)
    inside = corners.reshape(-1, 2)
    columns, rows = inside.astype(np.intp).T
    slopes = 127.5 * np.sqrt(cv2.cornerMinEigenVal(crop, _BLOCK)[rows, columns])
    return inside[slopes > _SLOPE] + first


def _crop(view: View, place: Places, reach: int) -> tuple[NDArray[np.uint8], Places]:
    height, width = view.grey.shape
    left, top = (max(int(c) - reach, 0) for c in place)
    right, bottom = min(int(place[0]) + reach + 1, width), min(int(place[1]) + reach + 1, height)
    return view.grey[top:bottom, left:right], np.array([left, top], np.float32)


def _bare_patch(view: View, place: Places) -> NDArray[np.uint8] | None:
    """(h, w) 255 in and around the patch of even shade that a place is on; None without one."""
    crop, first = _crop(view, place, _REACHES[-2])
    mask = np.zeros((crop.shape[0] + 2, crop.shape[1] + 2), np.uint8)
    seed = tuple(int(c) for c in np.rint(place - first))
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (255 << 8)
    area, *_ = cv2.floodFill(crop.copy(), mask, seed, 0, _ALIKE, _ALIKE, flags)
    if area < _BARE:
        return None
    whole = np.zeros_like(view.grey)
    left, top = first.astype(int)
    whole[top : top + crop.shape[0], left : left + crop.shape[1]] = mask[1:-1, 1:-1]
    return np.asarray(cv2.dilate(whole, np.ones((2 * _EDGE + 1,) * 2, np.uint8)), np.uint8)


def _outline(view: View, patch: NDArray[np.uint8] | None, count: int) -> tuple[Places, Places]:
    """(N, 2) places on the outline of a patch, evenly spread, and (N, 2) unit normals."""
    none = np.empty((0, 2), np.float32)
    if patch is None:
        return none, none
    inner = cv2.erode(patch, np.ones((2 * _EDGE - 1,) * 2, np.uint8))
    contours, _ = cv2.findContours(inner, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    every = np.concatenate([contour[:, 0] for contour in contours])
    blurred = view.grey
    dx = cv2.Sobel(blurred, cv2.CV_32F, 1, 0, scale=1 / 8)[every[:, 1], every[:, 0]]
    dy = cv2.Sobel(blurred, cv2.CV_32F, 0, 1, scale=1 / 8)[every[:, 1], every[:, 0]]
    slope = np.hypot(dx, dy)
    clear = np.flatnonzero(slope > 2 * _SLOPE)
    clear = clear[np.linspace(0, len(clear) - 1, min(count, len(clear))).astype(np.intp)]
    normals = np.stack([dx, dy], 1)[clear] / slope[clear, None]
    return every[clear].astype(np.float32), normals
