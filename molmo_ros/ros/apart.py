# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Some subscriptions of a node on an executor and a thread of their own.

A MultiThreadedExecutor takes its time over each message and looks at everything that a node has; a
single thread that looks at the camera's topics alone costs a third of that.
"""

from __future__ import annotations

import atexit
import threading
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.subscription import Subscription

from molmo_ros.ros.spinning import Spinner


class ApartGroup(CallbackGroup):
    """Whose subscriptions only one thread sees: executors that the node is in leave them alone."""

    def __init__(self) -> None:
        super().__init__()
        self.thread: int | None = None

    def can_execute(self, entity: Any) -> bool:
        """See CallbackGroup."""
        return threading.get_ident() == self.thread

    def beginning_execution(self, entity: Any) -> bool:
        """See CallbackGroup."""
        return self.can_execute(entity)

    def ending_execution(self, entity: Any) -> None:
        """See CallbackGroup."""


class ApartSpinner:
    """Spins the subscriptions of a group, in a thread of its own until closed."""

    def __init__(self, node: Node, group: ApartGroup) -> None:
        self._part = _Part(node, group)
        self._executor = _ApartExecutor(node, group)
        self._executor.add_node(self._part)  # type: ignore[arg-type]
        self._spinner = Spinner(self._executor)
        # A thread that is still within rclpy when Python ends aborts the process.
        atexit.register(self.close)

    def look_again(self) -> None:
        """A subscription was added."""
        self._executor.wake()

    def close(self) -> None:
        """Take no more messages; more than once is once."""
        atexit.unregister(self.close)
        self._spinner.close()


class _ApartExecutor(SingleThreadedExecutor):
    def __init__(self, node: Node, group: ApartGroup) -> None:
        super().__init__(context=node.context)
        self._group = group

    def spin_once(self, timeout_sec: float | None = None) -> None:
        self._group.thread = threading.get_ident()
        super().spin_once(timeout_sec)


class _Part:
    """What an executor asks of a node, with nothing of it but the subscriptions of a group."""

    timers: tuple[()] = ()
    clients: tuple[()] = ()
    services: tuple[()] = ()
    guards: tuple[()] = ()

    def __init__(self, node: Node, group: ApartGroup) -> None:
        self._node = node
        self._group = group
        self.executor: Any = None

    @property
    def subscriptions(self) -> list[Subscription]:
        return [one for one in self._node.subscriptions if one.callback_group is self._group]

    @property
    def waitables(self) -> list[Any]:
        """Events of those subscriptions, such as a publisher whose QoS does not fit.

        One that nobody takes ends every wait at once, so that the thread takes a whole core.
        """
        return [one for one in self._node.waitables if one.callback_group is self._group]
