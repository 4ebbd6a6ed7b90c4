# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Spinning a node in the background, and ending a process without leaving anything behind."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import rclpy
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from molmo_ros.ros.heap import few_arenas
from molmo_ros.starting import end

N = TypeVar('N', bound=Node)
_LAST_CALLBACKS_S = 0.2
# From the signal to the end of the process, at most.
_END_S = 1.5


class Spinner:
    """Spins an executor in a thread of its own until closed.

    rclpy stops spinning at an exception out of any callback; here it is logged and spinning
    goes on. An executor that still spins when Python ends aborts the process: close it.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name='executor', daemon=True)
        self._thread.start()

    @property
    def here(self) -> bool:
        """Whether this is called in its thread, out of a callback."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Stop taking callbacks and wait until the thread has ended."""
        self._closing.set()
        self._executor.shutdown()
        self._thread.join()

    def _spin(self) -> None:
        while not self._closing.is_set():
            try:
                self._executor.spin_once()
            except ExternalShutdownException:
                return
            except Exception as error:
                if not self._closing.is_set():
                    get_logger('molmo_ros').error(f'a callback failed: {error!r}')


def run_node(
    make_node: Callable[[], N],
    make_executor: Callable[[N], Executor],
    close: Callable[[N], bool],
    args: list[str] | None = None,
) -> int:
    """Run a node until SIGINT or SIGTERM; returns the exit status.

    close: ends the node's own work within seconds; False if some of it cannot be waited for.
    """
    wait_for_signal = _signals()
    few_arenas()
    try:
        # Without rclpy's handlers the context outlives the node, and whoever waits gets a response.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
    except Exception as error:
        print(f'cannot start: {_sentence(error)}', file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    executor = make_executor(node)
    executor.add_node(node)
    spinner = Spinner(executor)
    wait_for_signal()
    _end_in(_END_S)
    finished = close(node)
    # For what has come and was not looked at yet, and for what still leaves.
    time.sleep(_LAST_CALLBACKS_S)
    spinner.close()
    node.destroy_node()
    rclpy.try_shutdown()
    if not finished:
        # A pass of the model cannot be interrupted, and Python would wait for it here.
        end(0)
    return 0


def _end_in(seconds: float) -> None:
    """Whatever still hangs then, the process ends; who started it would kill it."""
    timer = threading.Timer(seconds, os._exit, [0])
    timer.daemon = True
    timer.start()


def _sentence(error: Exception) -> str:
    """What went wrong, without the places in ROS's sources that found it."""
    if isinstance(error, rclpy_implementation.UnknownROSArgsError):
        return f'these are no arguments of ROS: {error}'
    return re.sub(r', at \S+:\d+', '', str(error))


def _signals() -> Callable[[], object]:
    """Take over SIGINT and SIGTERM; returns what waits for the first. Any further are ignored.

    A pipe rather than an Event, which deadlocks when one handler interrupts another in set().
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    return lambda: os.read(reading, 1)
