# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's parameters as what they mean; the only place that reads them by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_ros.errors import shortened
from molmo_ros.grounding.ground import GroundingSettings
from molmo_ros.ros.health import HealthSettings
from molmo_ros.ros.parameters import POINT_QUERY, as_text
from molmo_ros.ros.sync import kept_seconds
from molmo_ros.ros.transforms import rigid_matrix
from molmo_ros.spatial import (
    Approach,
    GraspSettings,
    LiftSettings,
    StereoNoise,
    TofNoise,
    Unseen,
    read_unit,
)
from molmo_ros.spatial.frames import frame_name
from molmo_ros.spatial.grasp import read_box

_NOISE_DEFAULTS = {
    parameter.name: parameter.default
    for parameter in POINT_QUERY
    if parameter.name.startswith('noise.') and parameter.name != 'noise.preset'
}
_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]{0,63}')
_MOST_CAMERAS = 8
_ON_OFF = {'true': 'on', 'false': 'off'}  # as YAML reads them


@dataclass(frozen=True)
class EngineSettings:
    """Which model answers; see `engine.load_engine`. checkpoint: '' is the one that comes along."""

    checkpoint: str
    adapter: str | None
    device: str
    dtype: str
    quantize: str
    max_crops: int | None
    style: str
    self_test: str


@dataclass(frozen=True)
class StreamSettings:
    """How the camera's topics are subscribed to. qos: names of `qos.PROFILES`.

    keep: seconds of messages that are kept of each stream, as far as memory (bytes) allows.
    """

    image_transport: str
    depth_transport: str
    image_qos: str
    depth_qos: str
    camera_info_qos: str
    keep: float
    memory: int


@dataclass(frozen=True, eq=False)
class FrameSettings:
    """Which messages make a frame, and how they are read; times in seconds.

    rectified: the images are, so camera_info's P holds. optical_frame: of the images, whatever they
    say; '': as they say. depth_pose: (4, 4) pose of the depth camera in the color camera; None: /tf
    says. depth_unit: metres a step; None: as the encoding says. depth_aligned: depth is the
    image's, pixel for pixel, or is not; None: the frames say. image_bits: that a 16-bit image uses;
    0: what the largest number so far needs.
    """

    rectified: bool
    optical_frame: str
    depth_pose: NDArray[np.float64] | None
    depth_unit: float | None
    depth_aligned: bool | None
    image_bits: int
    sync_slop: float
    max_frame_age: float
    frame_wait: float
    transform_timeout: float


@dataclass(frozen=True, eq=False)
class NodeSettings:
    """All of them; times in seconds, lengths in metres.

    up_frame: whose z axis is up for grasps; '': the way that the things' supporting planes face.
    request_memory: bytes.
    """

    autostart: bool
    cameras: tuple[str, ...]
    health: HealthSettings
    engine: EngineSettings
    streams: StreamSettings
    frames: FrameSettings
    grounding: GroundingSettings
    timeout: float
    max_waiting: int
    max_standing: int
    standing_lease: float
    request_memory: int
    transform_cache: float
    up_frame: str
    waypoint_standoff: float
    marker_diameter: float
    diagnostics_period: float


def read_settings(values: Mapping[str, Any]) -> NodeSettings:
    """What the parameters mean, by their names. Raises ValueError for what makes no sense."""
    _refuse_contradictions(values)
    return NodeSettings(
        autostart=values['autostart'],
        cameras=camera_names(as_text(values['cameras'])),
        health=HealthSettings(
            values['hang_timeout'],
            values['latency_budget'],
            values['reload_after'],
            values['exit_when_dead'],
        ),
        engine=EngineSettings(
            values['checkpoint'],
            values['adapter'] or None,
            values['device'],
            values['dtype'],
            values['quantize'],
            values['max_crops'] or None,
            values['style'],
            _ON_OFF.get(as_text(values['self_test']), as_text(values['self_test'])),
        ),
        streams=StreamSettings(
            values['image_transport'],
            values['depth_transport'],
            values['qos.image'],
            values['qos.depth'],
            values['qos.camera_info'],
            kept_seconds(values['max_frame_age'], values['frame_wait'], values['sync_slop']),
            values['stream_memory'] << 20,
        ),
        frames=FrameSettings(
            values['rectified'],
            frame_name(values['optical_frame']),
            read_pose(values['depth_pose']) if values['depth_pose'] else None,
            read_unit(as_text(values['depth_unit'])),
            {'true': True, 'false': False}.get(as_text(values['depth_aligned'])),
            values['image_bits'],
            values['sync_slop'],
            values['max_frame_age'],
            values['frame_wait'],
            values['transform_timeout'],
        ),
        grounding=_grounding(values),
        timeout=values['timeout'],
        max_waiting=values['max_waiting'],
        max_standing=values['max_standing'],
        standing_lease=values['standing_lease'],
        request_memory=values['request_memory'] << 20,
        transform_cache=values['transform_cache'],
        up_frame=frame_name(values['grasp.up_frame']),
        waypoint_standoff=values['waypoint_standoff'],
        marker_diameter=values['marker_diameter'],
        diagnostics_period=values['diagnostics_period'],
    )


def camera_names(text: str) -> tuple[str, ...]:
    """Those of `cameras`. Raises ValueError for what cannot be a namespace, or is there twice."""
    names = tuple(text.replace(',', ' ').split())
    for name in names:
        if not _NAME.fullmatch(name) or names.count(name) > 1:
            raise ValueError(
                f"cameras names '{shortened(name)}': give each once, in letters, digits and _, "
                'beginning with a letter'
            )
    if len(names) > _MOST_CAMERAS:
        raise ValueError(f'cameras names {len(names)} cameras, more than {_MOST_CAMERAS}')
    return names


def _refuse_contradictions(values: Mapping[str, Any]) -> None:
    """Raises ValueError for two that cannot both be meant."""
    if values['depth_pose'] and as_text(values['depth_aligned']) == 'true':
        raise ValueError(
            "depth_pose is set and depth_aligned is 'true', so depth_pose would not count: leave "
            "it empty, or set depth_aligned to 'auto'"
        )
    read_box(values['gripper.palm'], 'gripper.palm')
    up, optical = frame_name(values['grasp.up_frame']), frame_name(values['optical_frame'])
    if up and up == optical:
        raise ValueError(
            f"grasp.up_frame and optical_frame are both '{shortened(up)}', whose z axis goes "
            'forward and not up: give a frame such as map, odom or the base of the arm'
        )


def read_pose(text: str) -> NDArray[np.float64]:
    """The (4, 4) matrix of 'x y z qx qy qz qw'. Raises ValueError."""
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != 7 or not np.all(np.isfinite(numbers)) or np.linalg.norm(numbers[3:]) < 0.1:
        raise ValueError(
            f"depth_pose is '{shortened(text)}': give x y z in metres and a quaternion "
            'qx qy qz qw, 7 numbers'
        )
    return rigid_matrix(numbers[:3], numbers[3:] / np.linalg.norm(numbers[3:]))


def _grounding(values: Mapping[str, Any]) -> GroundingSettings:
    preset = values['noise.preset']
    changed = any(values[name] != default for name, default in _NOISE_DEFAULTS.items())
    if preset != 'custom' and changed:
        raise ValueError(
            f"noise.preset is '{preset}', so the other noise parameters would not count: set it to "
            "'custom', or leave them as they are"
        )
    named = preset != 'custom' or changed
    lift = _lift(values, '' if preset == 'custom' else preset)
    return GroundingSettings(lift, _grasp(values), noise_from='' if named else 'noise.preset')


def _lift(values: Mapping[str, Any], preset: str) -> LiftSettings:
    stereo = values['noise.kind'] == 'stereo'
    model, kind = (StereoNoise, 'stereo') if stereo else (TofNoise, 'tof')
    noise = model(**_group(values, f'noise.{kind}.'))
    if not values['lift.min_range'] < values['lift.max_range']:
        raise ValueError(
            f'lift.min_range is {values["lift.min_range"]}, not below lift.max_range, which is '
            f'{values["lift.max_range"]}'
        )
    return LiftSettings(**_group(values, 'lift.'), noise=noise, preset=preset)


def _grasp(values: Mapping[str, Any]) -> GraspSettings | None:
    """None where waypoints are of surfaces."""
    if values['waypoint_from'] != 'object':
        return None
    return GraspSettings(
        Approach(values['grasp.approach']),
        values['waypoint_standoff'],
        values['gripper.opening'],
        values['gripper.finger_width'],
        values['gripper.finger_thickness'],
        values['gripper.finger_length'],
        read_box(values['gripper.palm'], 'gripper.palm'),
        values['gripper.clearance'],
        Unseen(values['gripper.unseen']),
        values['gripper.tool_frame'],
    )


def _group(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    names = [name for name in values if name.startswith(prefix)]
    return {name.removeprefix(prefix): values[name] for name in names}
