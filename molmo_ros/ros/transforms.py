# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where one frame stands in another at a stamp: tf2_ros where there is one, /tf itself elsewhere.

Both give the same answers; see `spatial.transform_tree`.
"""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from molmo_ros.cameras.message_fields import stamp_ns
from molmo_ros.errors import shortened
from molmo_ros.extras import require
from molmo_ros.spatial.frames import frame_name
from molmo_ros.spatial.time_jump import AHEAD_NS, TimeJump
from molmo_ros.spatial.transform_tree import (
    NoTransform,
    Transforms,
    TransformTree,
    frames_there,
    pose_matrix,
    rigid_matrix,
    unknown_frame,
    wait_for_transform,
)

# Samples in a row: fewer may come before a jump of /clock is heard.
_ON_AND_ON = 50

__all__ = [
    'NoTransform',
    'Tf2Transforms',
    'TopicTransforms',
    'TransformTree',
    'Transforms',
    'make_transforms',
    'pose_matrix',
    'rigid_matrix',
    'wait_for_transform',
]


def make_transforms(node: Node, cache_time: float) -> Transforms:
    """The distribution's tf2_ros if it is installed, otherwise our own reading of /tf.

    Raises UserError where neither can be had.
    """
    if importlib.util.find_spec('tf2_ros') is not None:
        return Tf2Transforms(node, cache_time)
    require('pytransform3d', 'reading /tf without tf2_ros')
    return TopicTransforms(node, cache_time)


class Tf2Transforms:
    """tf2_ros: its Buffer, filled by its TransformListener on the node's executor."""

    def __init__(self, node: Node, cache_time: float) -> None:
        import tf2_ros
        from rclpy.duration import Duration

        self._buffer = tf2_ros.Buffer(cache_time=Duration(nanoseconds=int(cache_time * 1e9)))
        self._gate = _Gate(self._buffer, node)
        self._listener = tf2_ros.TransformListener(self._gate, node, spin_thread=False)
        self._error = tf2_ros.TransformException

    def look_up(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64]:
        """See Transforms."""
        from rclpy.time import Time

        target, source = frame_name(target), frame_name(source)
        if stamp_ns < 0:
            raise NoTransform('the stamp is before 1970: the camera should stamp its images')
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except self._error as error:
            raise NoTransform(self._why(target, source, error)) from error
        return pose_matrix(found.transform)

    def _why(self, target: str, source: str, error: Exception) -> str:
        """tf2's own words may be empty or about times only; ours come first."""
        parents = self.parents()
        known = {*parents, *parents.values()}
        for frame in (target, source):
            if frame not in known:
                return unknown_frame(frame, known)
        said = str(error).strip() or type(error).__name__
        pair = f"from '{shortened(source)}' to '{shortened(target)}'"
        return f'no transform {pair}: {shortened(said, 300)} {frames_there(known)}'

    def clear(self, jump: TimeJump | None = None) -> None:
        """See Transforms; tf2's buffer keeps the static ones."""
        self._gate.clear(jump)

    def parents(self) -> dict[str, str]:
        """See Transforms."""
        import yaml

        try:
            known = dict(yaml.safe_load(self._buffer.all_frames_as_yaml()) or {})
        except yaml.YAMLError:  # tf2 quotes no names
            return {}
        return {str(child): str(entry['parent']) for child, entry in known.items()}


class _Ahead:
    """Says once of each frame that it goes on being stamped ahead of the node's time."""

    def __init__(self, node: Node) -> None:
        self._clock = node.get_clock()
        self._logger = node.get_logger()
        self._in_a_row: dict[str, int] = {}
        self._said: set[str] = set()

    def note(self, child: str, stamp: int) -> None:
        """A sample of that stamp, nanoseconds, has come."""
        if child in self._said:
            return
        now = self._clock.now().nanoseconds
        if not now or stamp <= now + AHEAD_NS:
            self._in_a_row.pop(child, None)
            return
        count = self._in_a_row[child] = self._in_a_row.get(child, 0) + 1
        if count == _ON_AND_ON:
            self._said.add(child)
            self._logger.warning(
                f"the transform of '{shortened(child)}' on /tf is stamped "
                f"{(stamp - now) * 1e-9:.3f} s ahead of this node's time, as were those before: "
                'set use_sim_time alike for whoever sends it and this node, or synchronise the '
                "machines' clocks; until then positions by it are of another time"
            )


class _Gate:
    """What tf2's listener fills in place of its Buffer: it lets nothing by that is left over.

    The Buffer refuses all that is `transform_cache` older than the newest that it has
    (TF_OLD_DATA), so that one sample of before a jump would shut out all of after it.
    """

    def __init__(self, buffer: Any, node: Node) -> None:
        self._buffer = buffer
        self._ahead = _Ahead(node)
        self._jump: TimeJump | None = None
        self._lock = threading.Lock()

    def set_transform(self, transform: Any, authority: str) -> None:
        """See tf2_ros.Buffer."""
        stamp = stamp_ns(transform)
        self._ahead.note(transform.child_frame_id, stamp)
        with self._lock:
            if self._jump is None or not self._jump.left_over(stamp):
                self._buffer.set_transform(transform, authority)

    def set_transform_static(self, transform: Any, authority: str) -> None:
        """See tf2_ros.Buffer."""
        self._buffer.set_transform_static(transform, authority)

    def clear(self, jump: TimeJump | None) -> None:
        """Forget what moves, and from now on what is left over."""
        with self._lock:
            self._jump = jump
            self._buffer.clear()


class TopicTransforms:
    """/tf and /tf_static through pytransform3d's time-aware graph, with tf2's rules."""

    def __init__(self, node: Node, cache_time: float) -> None:
        from tf2_msgs.msg import TFMessage

        self.tree = TransformTree(cache_time, node.get_logger().warning)
        self._ahead = _Ahead(node)
        # Of its own, and one after the other: of two poses of a fixed frame the later one counts.
        group = MutuallyExclusiveCallbackGroup()
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(
                TFMessage, '/tf', self._on_tf, QoSProfile(depth=100), callback_group=group
            ),
            node.create_subscription(
                TFMessage, '/tf_static', self._on_tf_static, latched, callback_group=group
            ),
        ]
        self.look_up = self.tree.look_up
        self.clear = self.tree.clear
        self.parents = self.tree.parents

    def _on_tf(self, message: Any) -> None:
        self._add(message, static=False)

    def _on_tf_static(self, message: Any) -> None:
        self._add(message, static=True)

    def _add(self, message: Any, static: bool) -> None:
        for stamped in message.transforms:
            stamp = stamp_ns(stamped)
            if not static:
                self._ahead.note(stamped.child_frame_id, stamp)
            self.tree.add(
                stamped.header.frame_id,
                stamped.child_frame_id,
                stamp,
                stamped.transform,
                static=static,
            )
