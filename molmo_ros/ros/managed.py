# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A managed node (lifecycle) that can be its own manager, and that survives a clumsy one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleNodeMixin, TransitionCallbackReturn
from rclpy.node import Node

UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = 'unconfigured', 'inactive', 'active', 'finalized'
_LONGEST_PAUSE_S = 600.0


class ManagedNode(LifecycleNode):
    """Transitions one at a time; one that cannot be is refused, with a line in the log.

    rclpy's own raises out of the service's callback on some distributions, without a response.
    """

    def __init__(self, name: str, **node_arguments: Any) -> None:
        self._changing = threading.Lock()
        self._ending = threading.Event()
        self._look_again = threading.Event()
        self._starter: threading.Thread | None = None
        Node.__init__(self, name, **node_arguments)
        # Of their own, and at once: whoever asks for the state is answered while a model loads.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        machine: Any = _Transitions(self._state_machine, self.get_logger().warning)
        self._state_machine = machine

    @property
    def state(self) -> str:
        """Its label: 'unconfigured', 'inactive', 'active', 'configuring', ..."""
        return str(self._state_machine.current_state[1])

    def manage_itself(self, retry_after: Callable[[], float]) -> None:
        """Configure and activate, in a thread.

        retry_after: tells seconds until it is tried again if it failed, twice as many after each
        try; 0: it is not, except when `look_again` is called.
        """
        self._starter = threading.Thread(
            target=self._manage, args=[retry_after], name='autostart', daemon=True
        )
        self._starter.start()

    def look_again(self) -> None:
        """Something was mended: try again now, if it waits for that."""
        self._look_again.set()

    def stop_managing(self, timeout: float) -> None:
        """Begin no other transition of one's own; waits for one that is under way."""
        self._ending.set()
        self._look_again.set()
        if self._starter is not None and self._starter is not threading.current_thread():
            self._starter.join(timeout)

    def _manage(self, retry_after: Callable[[], float]) -> None:
        tries = 0
        try:
            while not self._ending.is_set() and self.state == UNCONFIGURED:
                self._look_again.clear()
                if self.trigger_configure() is TransitionCallbackReturn.SUCCESS:
                    if not self._ending.is_set():
                        self.trigger_activate()
                    return
                seconds = min(retry_after() * 2**tries, _LONGEST_PAUSE_S)
                tries += 1
                self._look_again.wait(seconds or None)
        except Exception as error:  # of ROS, where the context has ended meanwhile
            if not self._ending.is_set() and self.context.ok():
                self.get_logger().error(f'it could not start itself: {error!r}')

    # What all transitions go through, whoever asks for them; rclpy has no public place for it.
    def _LifecycleNodeMixin__change_state(self, transition_id: int) -> TransitionCallbackReturn:
        if not self._changing.acquire(blocking=False):
            self.get_logger().warning('a transition was refused: another is under way')
            return TransitionCallbackReturn.FAILURE
        try:
            return super()._LifecycleNodeMixin__change_state(transition_id)  # type: ignore[misc]
        except rclpy_implementation.RCLError as error:
            if not self._ending.is_set():
                self.get_logger().warning(f'no such transition from {self.state}: {error}')
            return TransitionCallbackReturn.FAILURE
        finally:
            self._changing.release()


class _Transitions:
    """rclpy's state machine, in which a transition counts that DDS cannot tell others just then.

    rcl enters the new state, and then tells of it. rclpy would leave a node amid the transition,
    'configuring' for ever, where only the second fails.
    """

    def __init__(self, machine: Any, log: Callable[[str], object]) -> None:
        self._machine, self._log = machine, log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def trigger_transition_by_id(self, number: int, told: bool) -> None:
        """See rclpy's; raises RCLError where there is no such transition."""
        self._trigger(self._machine.trigger_transition_by_id, number, told)

    def trigger_transition_by_label(self, label: str, told: bool) -> None:
        """As `trigger_transition_by_id`."""
        self._trigger(self._machine.trigger_transition_by_label, label, told)

    def _trigger(self, trigger: Callable[[Any, bool], None], which: Any, told: bool) -> None:
        before = self._machine.current_state
        try:
            trigger(which, told)
        except rclpy_implementation.RCLError as error:
            state = self._machine.current_state
            if state == before:
                raise
            self._log(f'the state is {state[1]} now, which could not be told: {error}')
