# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node, once: name, default, range and what it is for.

After a change, `python docs/write_parameters.py` writes what repeats them: config/perception.yaml
and docs/parameters.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from molmo_ros.errors import shortened
from molmo_ros.spatial.grasp import Unseen
from molmo_ros.spatial.noise_presets import PRESETS
from molmo_ros.spatial.tool_frames import TOOL_FRAMES

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.parameter import Parameter as RosParameter

Value = bool | int | float | str
"""Of a parameter; a loose one also takes a list of texts, and is then these with blanks between."""

# How alike two names are, from 0 to 1, if one may be a slip of the other; and how much less it
# says that they are alike after their groups only.
_ALIKE = 0.6
_ENDING_COUNTS = 0.75


@dataclass(frozen=True)
class Parameter:
    """A ROS parameter. range: inclusive bounds of a number; choices: all that a text may be.

    fixed: it takes effect when the node starts, and is read-only after that. configured: it takes
    effect when the node is configured, and may be changed while it is not. loose: a text that
    YAML and the command line may make a number or a truth value of; these are taken as well.
    """

    name: str
    default: Value
    description: str
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    fixed: bool = False
    configured: bool = False
    loose: bool = False


QOS_CHOICES = ('sensor_data', 'reliable', 'latched', 'system_default')

POINT_QUERY = (
    Parameter(
        'autostart',
        True,
        'Whether the node configures (loads the model) and activates itself; if not, a manager of '
        'lifecycle nodes does.',
        fixed=True,
    ),
    Parameter(
        'reload_after',
        30.0,
        'Seconds of nothing but failures of the model after which it is loaded anew, and after '
        'which a start that failed is tried again; twice as many each time, up to 10 minutes; 0: '
        'never.',
        range=(0.0, 3600.0),
    ),
    Parameter(
        'checkpoint',
        '',
        'Molmo checkpoint: a local folder, the Hugging Face id of one that was fetched, or the '
        "address of a server, 'http://HOST:PORT/v1#MODEL'; empty: the demo checkpoint that comes "
        'with the package.',
        configured=True,
    ),
    Parameter(
        'style',
        'auto',
        'How the model of a server writes points: in the tags of Molmo or of Molmo2, or as JSON in '
        'thousandths, x first (json, Qwen3-VL) or y first (json_yx, Gemini Robotics-ER); auto: by '
        "the model's name.",
        choices=('auto', 'molmo', 'molmo2', 'json', 'json_yx'),
        configured=True,
    ),
    Parameter(
        'self_test',
        'on',
        'Whether the model is asked about pictures with known places when it is loaded, or the '
        'server connected to. One that points wrong is refused (on), or used and said so with each '
        'answer (warn); off: nothing is asked. A local one of less than a billion parameters is '
        'tested only where it brings pictures of its own. YAML reads on and off as true and false.',
        choices=('on', 'warn', 'off', 'true', 'false'),
        configured=True,
        loose=True,
    ),
    Parameter(
        'cameras',
        '',
        'Further cameras that share the model, by name: [left, right] adds left/point_query with '
        'the topics left/image, left/depth, ... and a node of that namespace with parameters of '
        'its own. A parameter of one of them is given at the start as left.optical_frame.',
        fixed=True,
        loose=True,
    ),
    Parameter(
        'adapter',
        '',
        'Folder that `molmo-ros finetune` wrote for the checkpoint; empty: none.',
        configured=True,
    ),
    Parameter(
        'device',
        'auto',
        "Where the model runs: 'auto', 'cpu', 'cuda' or 'cuda:N'.",
        configured=True,
    ),
    Parameter(
        'dtype',
        'auto',
        "Number format of the weights; 'auto' takes bfloat16 on a GPU and float32 on a CPU.",
        choices=('auto', 'float32', 'bfloat16', 'float16'),
        configured=True,
    ),
    Parameter(
        'quantize',
        'none',
        'Weights of the decoder in 8 or 4 bits (bitsandbytes): less memory, not less time.',
        choices=('none', 'int8', 'int4'),
        configured=True,
    ),
    Parameter(
        'max_crops',
        0,
        'High-resolution crops an image is cut into at most; fewer are faster and see less; 0: as '
        'the checkpoint says.',
        range=(0, 64),
        configured=True,
    ),
    Parameter(
        'hang_timeout',
        300.0,
        'Seconds without a sign of life of the model in an answer after which /diagnostics says '
        'that it hangs; a local one gives one before each pass; 0: never.',
        range=(0.0, 86400.0),
    ),
    Parameter(
        'exit_when_dead',
        False,
        'Whether the process ends where the model hangs or CUDA failed for good, so that whoever '
        'started it (respawn of the launch file) starts it again.',
    ),
    Parameter(
        'latency_budget',
        0.0,
        'Seconds that 95 of 100 answers may take before /diagnostics warns; 0: any.',
        range=(0.0, 3600.0),
    ),
    Parameter(
        'timeout',
        60.0,
        'Seconds a question may take when its request says none.',
        range=(0.1, 3600.0),
    ),
    Parameter(
        'max_waiting',
        8,
        'Questions that may wait while one is being answered; more are told BUSY at once. One more '
        'may wait where all others came by the service and it by the action, or the other way.',
        range=(0, 32),
        fixed=True,
    ),
    Parameter(
        'max_standing',
        4,
        'Questions that may stand (`point_query/watch`) at once; more are told BUSY.',
        range=(0, 16),
        fixed=True,
    ),
    Parameter(
        'standing_lease',
        10.0,
        'Seconds that a standing question lives without being renewed when its request says none.',
        range=(0.5, 86400.0),
    ),
    Parameter(
        'request_memory',
        256,
        'MiB of pictures that the questions that are answered or wait may have brought; one that '
        'would bring more is told BUSY.',
        range=(1, 65536),
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
        'optical_frame',
        '',
        'Optical frame (x right, y down, z forward) of the images, where their frame_id names '
        "another, as simulators name the camera's link; empty: as the images say.",
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
        'lift.radius_metres',
        0.01,
        'Metres; what that radius may be on the surface, so that far away a disc does not take in '
        'what stands beside. Four pixels always count.',
        range=(0.001, 10.0),
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
        'noise.preset',
        'custom',
        'The depth camera whose noise it is, by the numbers of its family for the width of the '
        'depth image; how wide a disc is fitted goes with it unless lift.radius is changed. '
        "'custom': what the parameters below say.",
        choices=('custom', *PRESETS),
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
        'is measured in the depth image for every point then (some 0.2 s each).',
        choices=('surface', 'object'),
    ),
    Parameter(
        'waypoint_standoff',
        0.0,
        'Metres that a waypoint keeps back along its approach, from the surface or from where the '
        'gripper closes; 0: there. The pregrasp of a grasp is 0.1 m back then.',
        range=(0.0, 2.0),
    ),
    Parameter(
        'grasp.approach',
        'above',
        'With waypoints of objects: which way grasps are preferred to come, against the normal of '
        'the plane that the object stands on (above), or against that of the surface at the point '
        '(normal).',
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
        'gripper.opening',
        0.085,
        'Metres between the open fingers of the gripper.',
        range=(0.001, 1.0),
    ),
    Parameter(
        'gripper.finger_width',
        0.02,
        'Metres; how wide a finger is, across the way in which it closes.',
        range=(0.001, 0.2),
    ),
    Parameter(
        'gripper.finger_thickness',
        0.014,
        'Metres; how thick a finger is, along the way in which it closes.',
        range=(0.001, 0.2),
    ),
    Parameter(
        'gripper.finger_length',
        0.045,
        'Metres from the palm, or what else is behind the fingers, to their ends.',
        range=(0.005, 0.5),
    ),
    Parameter(
        'gripper.palm',
        '0.2 0.075 0.1',
        "Box of what is behind the fingers, 'x y z' in metres: along the way in which they close, "
        'across it, and back along the approach.',
    ),
    Parameter(
        'gripper.clearance',
        0.002,
        'Metres that the gripper keeps above what the object stands on.',
        range=(0.0, 0.1),
    ),
    Parameter(
        'gripper.tool_frame',
        'x_closes',
        'Axes of the poses for the gripper: as they are (x closes, z approaches), or turned to '
        "those of a robot's frame (docs/picking.md has them in a table).",
        choices=tuple(TOOL_FRAMES),
    ),
    Parameter(
        'gripper.unseen',
        'free',
        'What space counts as that the camera does not see: a finger may go there, and something '
        'may be put there (free), or may not (occupied).',
        choices=tuple(unseen.value for unseen in Unseen),
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


CONFIGURED = frozenset(p.name for p in POINT_QUERY if p.configured)


def declare(node: Node, parameters: Sequence[Parameter]) -> None:
    """Declare them with descriptions and ranges, and take what the node was started with.

    A whole number is taken for a float parameter, at the start and later. What was given at the
    start under a name that does not exist is warned of. Raises ValueError, which names parameter,
    value and range, where the node was started with a wrong value.
    """
    from rcl_interfaces.msg import SetParametersResult
    from rclpy.parameter import Parameter as RosParameter

    known = {parameter.name: parameter for parameter in parameters}

    def widened(changed: list[Any]) -> list[Any]:
        return [
            RosParameter(p.name, value=float(p.value))
            if _is_whole(known.get(p.name), p.value)
            else p
            for p in changed
        ]

    def check(changed: list[Any]) -> SetParametersResult:
        for parameter in changed:
            if parameter.name in known:
                reason = _why_not(known[parameter.name], parameter.value)
                if reason:
                    return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    # rclpy has no other way to ask what a node was started with.
    given = node._parameter_overrides
    for parameter in widened([given[name] for name in known if name in given]):
        given[parameter.name] = parameter
        reason = _why_not(known[parameter.name], parameter.value)
        if reason:
            raise ValueError(reason)
    for name, nearest in ignored(node, parameters).items():
        meant = f'; did you mean {nearest}?' if nearest else ''
        node.get_logger().warning(
            f'there is no parameter {shortened(name)}, what it says is ignored{meant}'
        )
    widens = hasattr(node, 'add_pre_set_parameters_callback')
    if widens:
        node.add_pre_set_parameters_callback(widened)
    node.add_on_set_parameters_callback(check)
    for specification in parameters:
        descriptor = _descriptor(specification)
        # Humble cannot change what is set: there whole numbers stay so, and are read as floats.
        whole = not widens and isinstance(specification.default, float)
        descriptor.dynamic_typing = specification.loose or whole
        node.declare_parameter(specification.name, specification.default, descriptor)


def ignored(node: Node, parameters: Sequence[Parameter]) -> dict[str, str]:
    """What a node was started with under names that do not exist, and the nearest that does."""
    known = [parameter.name for parameter in parameters]
    return {
        name: nearest_name(name, known)
        for name in node._parameter_overrides
        if name not in known and not node.has_parameter(name) and not _of_rclpy(name)
    }


def as_text(value: Value | list[str] | tuple[str, ...]) -> str:
    """A loose parameter as it was written."""
    if isinstance(value, list | tuple):
        return ' '.join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def values(node: Node, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """What they are now, by name."""
    return {p.name: _as_declared(p, node.get_parameter(p.name).value) for p in parameters}


def changed_values(
    node: Node, parameters: Sequence[Parameter], changed: Sequence[RosParameter]
) -> dict[str, Any]:
    """What they will be once these are set, by name. Raises ValueError for a wrong value."""
    given = {one.name: one.value for one in changed}
    after = {}
    for parameter in (p for p in parameters if p.name in given):
        reason = _why_not(parameter, given[parameter.name])
        if reason:
            raise ValueError(reason)
        after[parameter.name] = _as_declared(parameter, given[parameter.name])
    return values(node, parameters) | after


def _as_declared(parameter: Parameter, value: Any) -> Any:
    return as_text(value) if parameter.loose else type(parameter.default)(value)


def _is_whole(parameter: Parameter | None, value: object) -> bool:
    """Whether a whole number was given for a parameter that is a float."""
    return parameter is not None and isinstance(parameter.default, float) and type(value) is int


def _why_not(parameter: Parameter, value: object) -> str:
    """What is wrong with a value; '' if nothing is."""
    if parameter.loose and isinstance(value, bool | int | float | str | list | tuple):
        value = as_text(value)
    right_type = type(value) is type(parameter.default) or _is_whole(parameter, value)
    if right_type and parameter.choices:
        fits = value in parameter.choices
    elif right_type and parameter.range and isinstance(value, int | float):
        fits = parameter.range[0] <= value <= parameter.range[1]
    else:
        fits = right_type
    if fits:
        return ''
    shown = f"'{shortened(value)}'" if isinstance(value, str) else shortened(value)
    return f'{parameter.name} is {shown}, not {_wanted(parameter)}'


def _wanted(parameter: Parameter) -> str:
    """What a parameter may be, in words."""
    if parameter.choices:
        return f'one of {", ".join(parameter.choices)}'
    kinds = {
        bool: 'true or false',
        int: 'a whole number',
        float: 'a number',
        str: "a text (write it in '')",
    }
    kind = kinds[type(parameter.default)]
    if parameter.range is None:
        return kind
    low, high = parameter.range
    return f'{kind} from {low:.10g} to {high:.10g}'


def _of_rclpy(name: str) -> bool:
    """Whether rclpy reads it without declaring it at the start."""
    return name.startswith('qos_overrides.')


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The known name that somebody who wrote `name` may have meant; '' if none is near.

    Without a group, or in a wrong one, the name in the group counts: 'radius' is 'lift.radius'.
    """

    def alike(a: str, b: str) -> float:
        return SequenceMatcher(None, a, b).ratio()

    wanted = name.lower()
    ending = wanted.rpartition('.')[2]

    def likeness(other: str) -> float:
        whole = alike(wanted, other)
        other_ending = other.rpartition('.')[2]
        if ending == other_ending:
            return 1 + whole
        return max(whole, _ENDING_COUNTS * alike(ending, other_ending))

    best = max(known, key=likeness)
    return best if likeness(best) >= _ALIKE else ''


def _descriptor(parameter: Parameter) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(
        description=parameter.description,
        read_only=parameter.fixed,
        additional_constraints=f'one of {", ".join(parameter.choices)}'
        if parameter.choices
        else '',
    )
    if parameter.range is None:
        return descriptor
    low, high = parameter.range
    if isinstance(parameter.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    else:
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor
