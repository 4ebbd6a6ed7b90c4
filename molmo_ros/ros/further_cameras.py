# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Further cameras of a node, which share its engine: a node for each, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from molmo_ros.ros.node_settings import camera_names
from molmo_ros.ros.parameters import POINT_QUERY, as_text
from molmo_ros.ros.spinning import Spinner

_TOPICS = (
    *('image', 'image/compressed', 'depth', 'depth/compressedDepth'),
    *('camera_info', 'depth_camera_info'),
)
_SERVICES = ('point_query', 'point_query/watch')
_OF_ALL = ('/tf', '/tf_static', '/clock')
# What the node does for all of them.
_NOT_THEIRS = ('cameras', 'autostart', 'exit_when_dead')


class FurtherCameras:
    """The nodes of further cameras, spun in threads of their own.

    Each is in the namespace of its name below that of the node, with the node's parameters, and
    with those that were given for it alone. Names of topics and services are remapped as the
    node's are: `left/image`.

    make: makes a node, of Node's arguments.
    """

    def __init__(
        self, node: Node, names: Sequence[str], make: Callable[..., Any], values: Mapping[str, Any]
    ) -> None:
        self._nodes: list[Any] = []
        self._spinner: Spinner | None = None
        try:
            for name in names:
                self._nodes.append(make(**_arguments(node, name, values)))
        except BaseException:
            self.destroy()
            raise
        if self._nodes:
            threads = sum(one.threads for one in self._nodes)
            executor = MultiThreadedExecutor(num_threads=threads, context=node.context)
            for one in self._nodes:
                executor.add_node(one)
            self._spinner = Spinner(executor)

    def close(self, timeout: float, leaving: bool = False) -> bool:
        """See `PointQueryNode.close`."""
        closed = [one.close(timeout, leaving) for one in self._nodes]
        return all(closed)

    def destroy(self) -> None:
        """After `close`."""
        spinner, self._spinner = self._spinner, None
        if spinner is not None:
            spinner.close()
        nodes, self._nodes = self._nodes, []
        for one in nodes:
            one.destroy_node()


def declare_theirs(node: Node) -> None:
    """Declare what a node was started with for one of its further cameras: `left.optical_frame`."""
    given = node._parameter_overrides
    known = {parameter.name for parameter in POINT_QUERY}
    try:
        names = camera_names(as_text(given['cameras'].value)) if 'cameras' in given else ()
    except ValueError:  # which is told where the node's own parameters are read
        return
    for name in list(given):
        camera, _, own = name.partition('.')
        if camera in names and own in known:
            descriptor = ParameterDescriptor(read_only=True, dynamic_typing=True)
            node.declare_parameter(name, given[name].value, descriptor)


def _arguments(node: Node, camera: str, values: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f'{camera}.'
    theirs = {
        name.removeprefix(prefix): parameter.value
        for name, parameter in node._parameter_overrides.items()
        if name.startswith(prefix)
    }
    shared = {name: value for name, value in values.items() if name not in _NOT_THEIRS}
    shared['use_sim_time'] = node.get_parameter('use_sim_time').value
    return {
        'namespace': f'{node.get_namespace().rstrip("/")}/{camera}',
        # Those of the process name the node itself; what they remap is told below.
        'use_global_arguments': False,
        'cli_args': ['--ros-args', *_remapped(node, camera)],
        'parameter_overrides': [
            Parameter(name, value=value) for name, value in (shared | theirs).items()
        ],
        'context': node.context,
    }


def _remapped(node: Node, camera: str) -> Iterator[str]:
    """The node's remappings of what has the camera's name before it, and of what all share."""
    topics = [(name, f'{camera}/{name}') for name in _TOPICS] + [(name, name) for name in _OF_ALL]
    for name, full in topics:
        if node.resolve_topic_name(full) != node.resolve_topic_name(full, only_expand=True):
            yield from ('-r', f'{name}:={node.resolve_topic_name(full)}')
    for name in _SERVICES:
        full = f'{camera}/{name}'
        if node.resolve_service_name(full) != node.resolve_service_name(full, only_expand=True):
            yield from ('-r', f'{name}:={node.resolve_service_name(full)}')
