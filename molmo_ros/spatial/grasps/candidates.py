# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ways to take a thing with a parallel gripper, ranked, from one depth image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from molmo_ros.spatial.camera_model import CameraModel
from molmo_ros.spatial.extent import Extent
from molmo_ros.spatial.grasp import Approach, GraspSettings, Unseen
from molmo_ros.spatial.grasps.closings import OK, REASONS, TOO_WIDE, Closings, closings
from molmo_ros.spatial.grasps.completion import hidden_side, inside
from molmo_ros.spatial.grasps.directions import directions
from molmo_ros.spatial.grasps.scoring import OF_UNSEEN, least_score, scores
from molmo_ros.spatial.grasps.several import its_outline
from molmo_ros.spatial.grasps.surroundings import Surroundings, stand_under, surroundings_of
from molmo_ros.spatial.grasps.thing import Thing, middle_of_mass, thinned, waist_over
from molmo_ros.spatial.lift_settings import LiftSettings
from molmo_ros.spatial.surface_point import SurfacePoint
from molmo_ros.spatial.windows import Floats

_MOST, _MOST_REFUSED = 12, 6
_PRE = 0.1  # metres back from a grasp, and up after it, where no standoff is set
_ALIKE_M, _ALIKE = 0.012, float(np.cos(np.radians(15)))  # two nearer than that are one
_ASIDE, _OF_NOISE = 0.0015, 0.6  # metres that an open finger must come beside a thing, and this
# share of the noise of a reading more: its sides are where many readings are
_TIGHT = 0.3  # of the score where it comes nearer than by all of the noise
_LOOKED_AT = 200  # of the best, at which the space that is not seen is looked up
_NEXT = 0.003  # metres beside what a map shows that are looked at
_FEW = 12  # points that are too few to tell more
_INSIDE, _STRAYS = 0.002, 3  # metres that count as inside, and readings that may be stray ones
_FINGERS = np.array(
    [(x, y, -z) for x in (-1, 1) for y in (-0.4, 0.0, 0.4) for z in np.linspace(0.02, 0.98, 6)]
)  # where in both it is looked up, in shares of how far out, wide and long they are
_PALM = np.array(
    [(x, y, -z) for x in (-0.9, -0.45, 0, 0.45, 0.9) for y in (-0.8, 0.8) for z in (0.1, 0.5, 0.9)]
) * (0.5, 0.5, 1)  # and where in the palm, in shares of its size
_OF_UNSEEN_PALM = 0.8  # share of a score that is lost where nothing of the palm's space is seen
_SEEN = 'something that is seen would be inside the gripper'
_LOOSE = 'so much speaks against it that it would hardly hold, by its score'
_UNSEEN = 'a finger would go where the camera does not see'


@dataclass(frozen=True, eq=False)
class Grasp:
    """One way to take a thing.

    position: (3,) the middle between the ends of the fingers, metres. rotation: (3, 3) columns x,
    in which the fingers close, y, and z, in which the gripper comes. pregrasp, retreat: (3,) where
    to begin and where to go with the thing. width, opening: metres between the fingers as they
    touch the thing and as they come. depth: metres that they reach beyond where it begins. score:
    0 to 1. reason: why it is refused; '' where it may be taken. unseen: share of the fingers' space
    that the camera does not see.
    """

    position: Floats
    rotation: Floats
    pregrasp: Floats
    retreat: Floats
    width: float
    opening: float
    depth: float
    score: float
    approach: Approach
    reason: str = ''
    unseen: float = 0.0


@dataclass(frozen=True, eq=False)
class Grasps:
    """ways: the best first, those that are refused last, with a reason. may_be_several: hardly a
    gap is seen between the thing and what is beside it: it may be several, or a part of one.
    """

    ways: tuple[Grasp, ...] = ()
    may_be_several: bool = False

    @property
    def best(self) -> Grasp | None:
        """The one to take, if there is one."""
        return self.ways[0] if self.ways and not self.ways[0].reason else None


NO_GRASPS = Grasps()


def grasps_of(
    point: SurfacePoint,
    extent: Extent,
    depth: NDArray[np.float32],
    camera: CameraModel,
    lift: LiftSettings,
    settings: GraspSettings,
    up: Floats | None = None,
) -> Grasps:
    """Ways to take the thing that a point is on: the best first, refused ones last with a reason.

    All in the frame of the camera that saw the depth image (H, W); up: (3,) unit vector against
    gravity there, if known: from above is then along it. None where nothing carries the thing.
    """
    if extent.plane is None:
        return NO_GRASPS
    stand = stand_under(point.position, extent.plane)
    around = surroundings_of(extent, stand, depth, camera, lift)
    if len(around.own) < 10:
        return NO_GRASPS
    outline, several = its_outline(around.own, around.others)
    around = replace(
        around,
        own=np.concatenate([around.own, around.others[outline]]),
        others=around.others[~outline],
    )
    surface = np.concatenate([around.own, hidden_side(around, extent)])
    shell = thinned(surface)
    others, meant = thinned(around.others), stand.of(point.position)
    waist = waist_over(meant, shell, others)
    axis = stand.of(extent.centre) if waist and extent.round else None
    body = np.concatenate([shell, inside(around, shell, axis)])
    height = float(np.percentile(body[:, 2], 99))
    mass = middle_of_mass(body)
    thing = Thing(body, shell, others, meant, mass, height, around.pitch)
    normal = point.normal @ stand.R
    kept: list[Grasp] = []
    refused: list[Grasp] = []
    above = np.array([0.0, 0.0, 1.0]) if up is None else up @ stand.R
    approaches = directions(
        above, normal, extent.axes[1] @ stand.R, around.eye, thing.mass, height, waist
    )
    found = [
        (way.approach, tried)
        for way in approaches
        for rotation in way.axes
        if (tried := closings(thing, rotation, settings)) is not None
    ]
    pool = _pool(found, thing, settings)
    for grasp in pool:
        if len(kept) >= _MOST:
            break
        if grasp.score < least_score(grasp.approach) and len(refused) >= _MOST_REFUSED // 2:
            break  # The rest would be refused too, and not be told.
        if any(_alike(grasp, other) for other in kept):
            continue
        grasp = _roomy(centred(grasp, surface, around.pitch, settings), around, settings)
        checked = grasp if grasp.reason else _looked(grasp, around, settings)
        if not checked.reason and checked.score < least_score(checked.approach):
            checked = replace(checked, score=0.0, reason=f'{_LOOSE}: {checked.score:.3f}')
        if checked.reason:
            refused.append(checked)
        else:
            kept.append(checked)
    kept.sort(key=lambda grasp: -grasp.score)
    refused = [*refused[: _MOST_REFUSED // 2], *_refused(found)][:_MOST_REFUSED]
    ways = tuple(_placed(grasp, around, settings) for grasp in (*kept, *refused))
    return Grasps(ways, several)


def _pool(
    found: list[tuple[Approach, Closings]], thing: Thing, settings: GraspSettings
) -> Iterator[Grasp]:
    """Those that meet nothing, by their scores, the best first."""
    if not found:
        return
    nearest = 0.0
    if thing.point[2] < thing.height / 2:
        nearest = min(c.away[c.why == OK].min(initial=np.inf) for _, c in found)
    rated = [np.where(c.why == OK, scores(c, a, settings, nearest), 0.0) for a, c in found]
    owner = np.repeat(np.arange(len(rated)), [len(r) for r in rated])
    index = np.concatenate([np.arange(len(r)) for r in rated])
    every = np.concatenate(rated)
    order = np.argsort(-every, kind='stable')[:_LOOKED_AT]
    for best in order[every[order] > 0]:
        approach, closing = found[owner[best]]
        yield _grasp(closing, int(index[best]), approach, float(every[best]))


def _grasp(closing: Closings, k: int, approach: Approach, score: float, reason: str = '') -> Grasp:
    ends = closing.ends[k]
    return Grasp(
        ends,
        closing.rotation,
        ends,
        ends,
        float(closing.width[k]),
        float(closing.opening[k]),
        float(closing.depth[k]),
        score,
        approach,
        reason,
    )


def _refused(found: list[tuple[Approach, Closings]]) -> Iterator[Grasp]:
    """Of each turn in which all is refused, the way that came nearest to the point."""
    for approach, closing in found:
        if (closing.why == OK).any():
            continue
        # What is in the way says more than that another place is too wide.
        far = closing.away + closing.off + np.where(closing.why == TOO_WIDE, 0.05, 0.0)
        k = int(far.argmin())
        reason = REASONS[closing.why[k]]
        if closing.why[k] == TOO_WIDE:
            reason += f': {1e3 * closing.width[k]:.0f} mm'
        yield _grasp(closing, k, approach, 0.0, reason)


def _alike(a: Grasp, b: Grasp) -> bool:
    turned = a.rotation.T @ b.rotation
    same_way = turned[2, 2] > _ALIKE and abs(turned[0, 0]) > _ALIKE
    return bool(same_way and np.linalg.norm(a.position - b.position) < _ALIKE_M)


def _looked(grasp: Grasp, around: Surroundings, settings: GraspSettings) -> Grasp:
    """The grasp with the share of its fingers' space that is not seen."""
    out = (grasp.opening + settings.finger_thickness) / 2
    long = min(settings.finger_length, grasp.depth + 0.01)
    inside = _FINGERS * (out, settings.finger, long)
    share = float(around.unseen(grasp.position + inside @ grasp.rotation.T).mean())
    if _readings_in_it(grasp, around, settings) > _STRAYS:
        return replace(grasp, unseen=share, score=0.0, reason=_SEEN)
    if share > 0 and settings.unseen is Unseen.OCCUPIED:
        return replace(grasp, unseen=share, score=0.0, reason=_UNSEEN)
    score = grasp.score * (1 - OF_UNSEEN * share)
    if grasp.approach is Approach.SIDE:
        # The palm comes low among what stands around, of which the far sides are not seen.
        there = _PALM * settings.palm - (0.0, 0.0, settings.finger_length)
        hidden = around.unseen(grasp.position + there @ grasp.rotation.T).mean()
        less = score * (1 - _OF_UNSEEN_PALM * float(hidden))
        # That says which way is better, not that none would hold.
        score = max(less, min(score, least_score(grasp.approach)))
    return replace(grasp, unseen=share, score=score)


def centred(grasp: Grasp, surface: Floats, pitch: float, settings: GraspSettings) -> Grasp:
    """The grasp by the points of the surface (N, 3) that are between the fingers.

    They tell more than the cells of a map. pitch: metres from one to the next: each stands for
    so much around it.
    """
    across = surface @ grasp.rotation[:, 1] - grasp.position @ grasp.rotation[:, 1]
    near = surface[np.abs(across) < settings.finger / 2]
    x, _, z = ((near - grasp.position) @ grasp.rotation).T
    x = x[(z < 0) & (np.abs(x) < grasp.width / 2 + _NEXT)]
    if len(x) < _FEW:
        return grasp
    left, right = _ends(x)
    middle = (left + right) / 2 * grasp.rotation[:, 0]
    return replace(grasp, position=grasp.position + middle, width=float(right - left + pitch))


def _ends(x: Floats) -> tuple[float, float]:
    """The 1st and 99th percentile; NumPy's own takes longer than all else here."""
    x = np.sort(x)
    at = 0.01 * (len(x) - 1)
    low, share = int(at), at - int(at)
    left = x[low] + share * (x[low + 1] - x[low])
    return float(left), float(x[-1 - low] + share * (x[-2 - low] - x[-1 - low]))


def _roomy(grasp: Grasp, around: Surroundings, settings: GraspSettings) -> Grasp:
    """The grasp, refused if a finger would come nearer to the thing than its sides are known."""
    aside = (settings.opening - grasp.width) / 2
    least = _ASIDE + _OF_NOISE * around.sigma
    if aside >= _ASIDE + around.sigma:
        return grasp
    if aside >= least:
        enough = min(grasp.score, least_score(grasp.approach) / (1 - OF_UNSEEN))
        return replace(grasp, score=max(_TIGHT * grasp.score, enough))
    reason = (
        'the fingers would come too near to its sides: of '
        f'{1e3 * settings.opening:.0f} mm it takes {1e3 * grasp.width:.1f}, which leaves '
        f'{1e3 * max(aside, 0.0):.1f} mm on each side, and by the noise of the depth '
        f'{1e3 * least:.1f} are needed'
    )
    return replace(grasp, score=0.0, reason=reason)


def _readings_in_it(grasp: Grasp, around: Surroundings, settings: GraspSettings) -> int:
    """How many readings lie inside the fingers and the palm, by more than a margin."""
    x, y, z = grasp.rotation.T @ (around.readings - grasp.position).T
    x, y = np.abs(x), np.abs(y)
    inner, length = grasp.opening / 2 + _INSIDE, settings.finger_length
    wide, deep, high = settings.palm
    narrow = np.flatnonzero((y < max(deep, settings.finger) / 2 - _INSIDE) & (z < -_INSIDE))
    x, y, z = x[narrow], y[narrow], z[narrow]
    finger = (x > inner) & (x < inner + settings.finger_thickness - 2 * _INSIDE)
    finger &= (y < settings.finger / 2 - _INSIDE) & (z > -length)
    palm = (x < wide / 2 - _INSIDE) & (y < deep / 2 - _INSIDE)
    palm &= (z < -length - _INSIDE) & (z > -length - high)
    return int(np.count_nonzero(finger | palm))


def _placed(grasp: Grasp, around: Surroundings, settings: GraspSettings) -> Grasp:
    """The grasp in the frame of the camera, with where to begin and where to go."""
    stand = around.stand
    back = settings.standoff or _PRE
    up = np.array([0.0, 0.0, back])
    return replace(
        grasp,
        position=stand.to_camera(grasp.position),
        rotation=stand.R @ grasp.rotation,
        pregrasp=stand.to_camera(grasp.position - back * grasp.rotation[:, 2]),
        retreat=stand.to_camera(grasp.position + up),
    )


def transform_grasps(grasps: Grasps, T_target_source: Floats) -> Grasps:
    """The same grasps in another frame, by the (4, 4) pose of their frame in the target's."""
    return replace(grasps, ways=tuple(_transformed(way, T_target_source) for way in grasps.ways))


def _transformed(grasp: Grasp, T_target_source: Floats) -> Grasp:
    R, t = T_target_source[:3, :3], T_target_source[:3, 3]
    return replace(
        grasp,
        position=R @ grasp.position + t,
        rotation=R @ grasp.rotation,
        pregrasp=R @ grasp.pregrasp + t,
        retreat=R @ grasp.retreat + t,
    )
