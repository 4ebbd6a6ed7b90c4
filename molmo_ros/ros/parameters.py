# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node, once: name, default, range and what it is for.

After a change, `python docs/write_parameters.py` writes what repeats them: config/perception.yaml
and docs/parameters.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclpy.node import Node

Value = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """A ROS parameter. range: inclusive bounds of a number; choices: all that a text may be.

    fixed: it takes effect when the node starts, and is read-only after that. loose: a text that
    YAML and the command line may make a number or a truth value of; these are taken as well.
    """

    name: str
    default: Value
    description: str
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    fixed: bool = False
    loose: bool = False


QOS_CHOICES = ('sensor_data', 'reliable', 'latched', 'system_default')

POINT_QUERY = (
    Parameter(
        'checkpoint',
        '',
        'Molmo checkpoint: a local folder, or the Hugging Face id of one that was fetched; empty: '
        'the demo checkpoint that comes with the package.',
        fixed=True,
    ),
    Parameter(
        'adapter',
        '',
        'Folder that `molmo-ros finetune` wrote for the checkpoint; empty: none.',
        fixed=True,
    ),
    Parameter(
        'device',
        'auto',
        "Where the model runs: 'auto', 'cpu', 'cuda' or 'cuda:N'.",
        fixed=True,
    ),
    Parameter(
        'dtype',
        'auto',
        "Number format of the weights; 'auto' takes bfloat16 on a GPU and float32 on a CPU.",
        choices=('auto', 'float32', 'bfloat16', 'float16'),
        fixed=True,
    ),
    Parameter(
        'quantize',
        'none',
        'Weights of the decoder in 8 or 4 bits (bitsandbytes): less memory, not less time.',
        choices=('none', 'int8', 'int4'),
        fixed=True,
    ),
    Parameter(
        'max_crops',
        0,
        'High-resolution crops an image is cut into at most; fewer are faster and see less; 0: as '
        'the checkpoint says.',
        range=(0, 64),
        fixed=True,
    ),
    Parameter(
        'timeout',
        60.0,
        'Seconds a question may take when its request says none.',
        range=(0.1, 3600.0),
    ),
    Parameter(
        'max_waiting',
        3,
        'Questions that may wait while one is being answered; more are told BUSY at once.',
        range=(0, 32),
        fixed=True,
    ),
    Parameter(
        'image_transport',
        'raw',
        "How the color image comes: 'raw' on `image`, or 'compressed' on `image/compressed`.",
        choices=('raw', 'compressed'),
        fixed=True,
    ),
    Parameter(
        'depth_transport',
        'raw',
        "How depth comes: 'raw' on `depth`, or 'compressedDepth' on `depth/compressedDepth`.",
        choices=('raw', 'compressedDepth'),
        fixed=True,
    ),
    Parameter(
        'rectified',
        False,
        'Whether the image is rectified: camera_info then counts with P, otherwise with K and D.',
    ),
    Parameter(
        'depth_pose',
        '',
        'Pose of the depth optical frame in that of the image, for depth that is not aligned: '
        "'x y z qx qy qz qw', metres; empty: as /tf has it.",
    ),
    Parameter(
        'depth_unit',
        'auto',
        "What a step of the depth image's numbers is: mm, 0.1mm, 0.25mm, 1/5000 or 1/256 (of a "
        'metre), m, or a number of metres. auto: integers are millimetres and floats are metres '
        '(REP 118).',
        loose=True,
    ),
    Parameter(
        'depth_aligned',
        'auto',
        "Whether depth is aligned to the image, pixel for pixel, under whatever frame's name "
        '(true), or is what its own frame sees (false). auto: as the frames say; depth of another '
        'frame but of the size of the image, whose camera_info nobody publishes, is aligned.',
        choices=('auto', 'true', 'false'),
        loose=True,
    ),
    Parameter(
        'image_bits',
        0,
        'Bits that the numbers of a 16-bit image use (10 for many infrared cameras); 0: as many as '
        'the largest one so far needs.',
        range=(0, 16),
    ),
    Parameter(
        'sync_slop',
        0.02,
        'Seconds by which the stamps of an image, its depth and its camera_info may differ.',
        range=(0.0, 10.0),
    ),
    Parameter(
        'max_frame_age',
        1.0,
        'Seconds that the newest image may be old when a question comes; 0: any age.',
        range=(0.0, 3600.0),
    ),
    Parameter(
        'frame_wait',
        1.0,
        'Seconds a question waits for a frame with all streams that are being published.',
        range=(0.0, 60.0),
    ),
    Parameter(
        'stream_memory',
        256,
        'MiB of messages that are kept of each stream at most; fewer seconds are kept of large '
        'images. Depth that comes later than these seconds finds no image.',
        range=(1, 65536),
        fixed=True,
    ),
    Parameter(
        'transform_timeout',
        0.5,
        "Seconds to wait for the transform to the target frame at the image's stamp.",
        range=(0.0, 60.0),
    ),
    Parameter(
        'transform_cache',
        30.0,
        'Seconds of /tf that are kept.',
        range=(1.0, 3600.0),
        fixed=True,
    ),
    Parameter(
        'qos.image',
        'sensor_data',
        'Quality of service of the image subscription.',
        choices=QOS_CHOICES,
        fixed=True,
    ),
    Parameter(
        'qos.depth',
        'sensor_data',
        'Quality of service of the depth subscription.',
        choices=QOS_CHOICES,
        fixed=True,
    ),
    Parameter(
        'qos.camera_info',
        'sensor_data',
        'Quality of service of the subscriptions to camera_info and depth_camera_info.',
        choices=QOS_CHOICES,
        fixed=True,
    ),
    Parameter(
        'lift.min_range',
        0.1,
        'Metres along the optical axis; nearer depth is OUT_OF_RANGE.',
        range=(0.001, 100.0),
    ),
    Parameter(
        'lift.max_range',
        10.0,
        'Metres along the optical axis; farther depth is OUT_OF_RANGE.',
        range=(0.01, 1000.0),
    ),
    Parameter(
        'lift.radius',
        7.0,
        'Pixels; radius of the disc around a point that its surface is fitted in.',
        range=(3.0, 50.0),
    ),
    Parameter(
        'lift.hole_radius',
        6,
        'Pixels; how far from a point without depth the surface around it may begin.',
        range=(1, 50),
    ),
    Parameter(
        'lift.pixel_sigma',
        0.5,
        'Pixels; how surely a point is known in the image, for the covariance of its position.',
        range=(0.0, 20.0),
    ),
    Parameter(
        'noise.kind',
        'stereo',
        'Which noise the depth camera has: that of stereo matching, or of time of flight.',
        choices=('stereo', 'tof'),
    ),
    Parameter(
        'noise.stereo.baseline',
        0.05,
        'Metres between the two imagers of a stereo camera.',
        range=(0.001, 2.0),
    ),
    Parameter(
        'noise.stereo.disparity_sigma',
        0.08,
        'Pixels; standard deviation of the disparity.',
        range=(0.0, 5.0),
    ),
    Parameter(
        'noise.stereo.disparity_step',
        0.03125,
        'Pixels; quantum of the disparity.',
        range=(0.0, 5.0),
    ),
    Parameter(
        'noise.stereo.correlation',
        1.0,
        'Pixels; standard deviation of the blur that makes neighbouring pixels err alike.',
        range=(0.0, 20.0),
    ),
    Parameter(
        'noise.tof.constant',
        0.0015,
        'Metres; standard deviation of time of flight at close range.',
        range=(0.0, 1.0),
    ),
    Parameter(
        'noise.tof.quadratic',
        0.001,
        'Metres at one metre; the part of the standard deviation that grows with distance squared.',
        range=(0.0, 1.0),
    ),
    Parameter(
        'noise.tof.correlation',
        0.5,
        'Pixels; standard deviation of the blur that makes neighbouring pixels err alike.',
        range=(0.0, 20.0),
    ),
    Parameter(
        'waypoint_from',
        'surface',
        'What waypoints go by: the surface at the point, or the object that the point is on, which '
        'is measured in the depth image for every point then (some 0.1 s each).',
        choices=('surface', 'object'),
    ),
    Parameter(
        'waypoint_standoff',
        0.0,
        'Metres that a waypoint keeps back from the surface along its approach; 0: on it.',
        range=(0.0, 2.0),
    ),
    Parameter(
        'grasp.approach',
        'above',
        'With waypoints of objects: against the normal of the plane that the object stands on '
        '(above), or against that of the surface at the point (normal).',
        choices=('above', 'normal'),
    ),
    Parameter(
        'grasp.up_frame',
        '',
        'A frame whose z axis is up (map, odom, the base of an arm that stands upright): above is '
        'then against gravity, and only planes within 20 degrees of level carry things. Empty: '
        'above is against the normal of the plane that the object stands on.',
    ),
    Parameter(
        'grasp.opening',
        0.085,
        'Metres between the open fingers of the gripper.',
        range=(0.001, 1.0),
    ),
    Parameter(
        'grasp.finger',
        0.02,
        'Metres; how wide a finger of the gripper is.',
        range=(0.001, 0.2),
    ),
    Parameter(
        'marker_diameter',
        0.02,
        'Metres; diameter of the spheres in ~/markers.',
        range=(0.001, 1.0),
    ),
    Parameter(
        'diagnostics_period',
        1.0,
        'Seconds between messages on /diagnostics.',
        range=(0.1, 60.0),
        fixed=True,
    ),
)


def declare(node: Node, parameters: Sequence[Parameter]) -> None:
    """Declare them with descriptions and ranges; a text outside its choices is refused.

    Raises rclpy's InvalidParameterValueException where the node was started with a wrong value.
    """
    from rcl_interfaces.msg import SetParametersResult

    choices = {parameter.name: parameter.choices for parameter in parameters if parameter.choices}

    def check(changed: list[Any]) -> SetParametersResult:
        for parameter in changed:
            allowed = choices.get(parameter.name)
            if allowed and as_text(parameter.value) not in allowed:
                reason = f"{parameter.name} is '{parameter.value}', not one of {', '.join(allowed)}"
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
    for parameter in parameters:
        node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter))


def as_text(value: Value) -> str:
    """A loose parameter as it was written."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def values(node: Node, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """What they are now, by name."""
    return {p.name: node.get_parameter(p.name).value for p in parameters}


def _descriptor(parameter: Parameter) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(
        description=parameter.description,
        read_only=parameter.fixed,
        additional_constraints=f'one of {", ".join(parameter.choices)}'
        if parameter.choices
        else '',
        dynamic_typing=parameter.loose,
    )
    if parameter.range is None:
        return descriptor
    low, high = parameter.range
    if isinstance(parameter.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    else:
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor
