# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From points in a picture to points on surfaces, and how to take what they are on.

Everybody who has an answer comes here: the node, the commands, the benchmarks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.assumptions import NOISE
from molmo_ros.grounding.capture import OPTICAL, Capture, TargetFrame
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.picking import NOT_ASKED, Pick, pick_near
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.spatial import (
    PRESETS,
    GraspSettings,
    LiftSettings,
    LiftStatus,
    StereoNoise,
    SurfacePoint,
    lift_points,
    transform_surface_point,
)

# Points that are lifted together: at once is faster, but nothing ends it meanwhile.
_AT_ONCE = 32
LATE = 'the time was up: give a longer timeout'


@dataclass(frozen=True, eq=False)
class GroundedPoint:
    """A point in the picture and on the surface.

    Attributes:
        image: where the model pointed, pixels.
        surface: in the target frame, metres.
        approach: (3,) unit vector into the surface, in the target frame; NaN where not known.
        pick: of the thing that the point is on, if that was asked for.
    """

    image: ImagePoint
    surface: SurfacePoint
    approach: NDArray[np.float64]
    pick: Pick = NOT_ASKED


@dataclass(frozen=True)
class GroundingSettings:
    """lift: how points are lifted. grasp: how things are taken; None: nobody wants to know.

    noise_from: the parameter or option that names the camera whose noise it is, where nobody has;
    '' where it is known.
    """

    lift: LiftSettings = field(default_factory=LiftSettings)
    grasp: GraspSettings | None = None
    noise_from: str = ''


@dataclass(frozen=True, eq=False)
class Grounding:
    """The points, in the order of the answer, and what a user should know of them.

    notes: what is implausible, missing or guessed. assumed: what nothing said and their positions
    depend on; empty where no point has one.
    """

    points: tuple[GroundedPoint, ...]
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


class Watch:
    """Follows a grounding: is told of stages and results, and may end it. This one lets it run."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Entered as a stage ('lift', 'object') begins and left as it ends; may raise to end it."""
        return nullcontext()

    def tell(self, stage: str, points: tuple[GroundedPoint, ...]) -> None:
        """What a stage has brought."""

    def check(self) -> None:
        """Asked between points; raises whatever shall end the grounding."""

    def remaining(self) -> float:
        """Seconds left; what is not done when there are none is left out, and said."""
        return inf


def _noise_assumed(settings: GroundingSettings) -> tuple[str, ...]:
    noise = settings.lift.noise
    if not settings.noise_from or settings.lift.preset or not isinstance(noise, StereoNoise):
        return ()
    families = ', '.join(name for name in PRESETS if name != 'ideal')
    return (
        NOISE.told(
            baseline=f'{100 * noise.baseline:g}',
            sigma=noise.disparity_sigma,
            settled_by=settings.noise_from,
            families=families,
        ),
    )


def ground(
    points: Sequence[ImagePoint],
    capture: Capture,
    settings: GroundingSettings | None = None,
    target: TargetFrame = OPTICAL,
    watch: Watch | None = None,
) -> Grounding:
    """Lift the points of an answer, and measure what they are on if the settings say so.

    Raises nothing of its own: what is not known of a point is said in its status and reason.
    """
    settings, watch = settings or GroundingSettings(), watch or Watch()
    with watch.stage('lift'):
        grounded = tuple(_lifted(points, capture, settings.lift, target, watch))
        watch.tell('lift', grounded)
    if settings.grasp is not None and grounded:
        with watch.stage('object'):
            grounded = tuple(_picked(grounded, capture, settings, target, watch))
            watch.tell('object', grounded)
    in_space = any(point.surface.status is LiftStatus.OK for point in grounded)
    said = (*capture.assumed, *target.assumed, *_noise_assumed(settings))
    assumed = said if in_space else ()
    return Grounding(grounded, tuple(_notes(grounded, capture, target)), assumed)


def not_lifted(point: ImagePoint, reason: str = 'not lifted yet') -> GroundedPoint:
    """A point that nobody has lifted."""
    nowhere = SurfacePoint(LiftStatus.NO_DEPTH, reason=reason)
    return GroundedPoint(point, nowhere, np.full(3, np.nan))


def _lifted(
    points: Sequence[ImagePoint],
    capture: Capture,
    settings: LiftSettings,
    target: TargetFrame,
    watch: Watch,
) -> Iterator[GroundedPoint]:
    """The points with their surfaces, some at a time for as long as there is time."""
    frame = capture.frame
    pixels = _pixels_in(points, frame)
    for first in range(0, len(points), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        if first:
            watch.check()
            if watch.remaining() <= 0:
                yield from (not_lifted(point, LATE) for point in points[first:])
                return
        surfaces = lift_points(
            pixels[some], frame.depth, frame.camera, settings, capture.registration
        )
        for point, surface in zip(points[some], surfaces, strict=True):
            yield _in_target(point, surface, capture, target)


def _pixels_in(points: Sequence[ImagePoint], frame: Frame) -> NDArray[np.float64]:
    """(N, 2) of points in the frame's picture; those on its far edge are in its last pixel."""
    height, width = frame.color.shape[:2]
    pixels = np.array([point.centred for point in points]).reshape(-1, 2)
    return np.clip(pixels, 0.0, (width - 1.0, height - 1.0))


def _in_target(
    point: ImagePoint, surface: SurfacePoint, capture: Capture, target: TargetFrame
) -> GroundedPoint:
    nowhere = np.full(3, np.nan)
    if surface.status is not LiftStatus.OK:
        reason = capture.missing.get(surface.status) or surface.reason
        return GroundedPoint(point, replace(surface, reason=reason), nowhere)
    T = target.T_target_optical
    if T is None:
        lost = SurfacePoint(LiftStatus.NO_TRANSFORM, reason=target.why_not)
        return GroundedPoint(point, lost, nowhere)
    return _on(transform_surface_point(surface, T), point, target)


def _on(
    surface: SurfacePoint, point: ImagePoint, target: TargetFrame, pick: Pick = NOT_ASKED
) -> GroundedPoint:
    """A point with its surface in the target frame, which is known."""
    T = target.T_target_optical
    assert T is not None
    along_ray = surface.position - T[:3, 3]
    along_ray = along_ray / np.linalg.norm(along_ray)
    approach = -surface.normal if np.all(np.isfinite(surface.normal)) else along_ray
    return GroundedPoint(point, surface, approach, pick)


def _picked(
    points: Sequence[GroundedPoint],
    capture: Capture,
    settings: GroundingSettings,
    target: TargetFrame,
    watch: Watch,
) -> Iterator[GroundedPoint]:
    """The points with their picks, one after another for as long as there is time."""
    assert settings.grasp is not None
    for point in points:
        watch.check()
        if watch.remaining() <= 0:
            found = Pick(
                reason='the time was up: the waypoint goes by the surface',
                tool_frame=settings.grasp.tool_frame,
            )
            yield replace(point, pick=found)
        else:
            yield _of_thing(point, capture, target, settings.lift, settings.grasp)


def _of_thing(
    point: GroundedPoint,
    capture: Capture,
    target: TargetFrame,
    lift: LiftSettings,
    grasp: GraspSettings,
) -> GroundedPoint:
    """A point with the pick of the thing that it is on, or just misses.

    Where the depth has no surface at the pixel, it is the thing's; else it stays where it is.
    """
    pixel = point.image.centred
    surface, found = pick_near(pixel, point.surface, capture, target, lift, grasp)
    if surface is not point.surface:
        return _on(surface, point.image, target, found)
    return replace(point, pick=found)


def _notes(points: Sequence[GroundedPoint], capture: Capture, target: TargetFrame) -> Iterator[str]:
    """What is implausible, missing or guessed."""
    yield from capture.notes
    if capture.warning:
        yield f'depth: {capture.warning}'
    yield from target.notes
    lost = [point.surface for point in points if point.surface.status is not LiftStatus.OK]
    if lost:
        reasons = dict.fromkeys(f'{s.status.name}: {s.reason}' for s in lost)
        yield f'{len(lost)} of {len(points)} without 3D; {"; ".join(reasons)}'
    at_edge = sum(point.surface.near_edge for point in points)
    if at_edge:
        yield (
            f'{at_edge} of {len(points)} so near an outline that the depth may be the other '
            "side's: the covariance says how much"
        )
    bridged = sum(point.surface.bridged for point in points)
    if bridged:
        yield f'{bridged} of {len(points)} in a hole of the depth, which the surface around bridges'
    found = [point for point in points if point.surface.status is LiftStatus.OK]
    guessed = [point.pick.reason for point in found if point.pick.reason]
    if guessed:
        yield f'{len(guessed)} of {len(points)}: {"; ".join(dict.fromkeys(guessed))}'
