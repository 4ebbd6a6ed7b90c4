# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How processes begin and end: without a traceback, at once, and not without who started them.

Imports nothing that takes time: until a handler is set, Ctrl-C is a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn

# Names the process that a node was started by and has to end with.
PARENT = 'MOLMO_ROS_PARENT'
_PR_SET_PDEATHSIG = 1


def begin() -> None:
    """For a node: SIGINT and SIGTERM end it from now on, until it has handlers of its own."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os._exit(0))
    _end_with_parent()


def run(module: str) -> NoReturn:
    """Import a node's module, run its `main`, and end the process with what that returns."""
    begin()
    end(import_module(module).main())


def end(status: int) -> NoReturn:
    """End at once. Python would take seconds to take torch apart, and launch loses patience."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more
            status = status or 1
    os._exit(status)


@contextmanager
def interrupted_with(status: int) -> Iterator[None]:
    """SIGINT ends the process meanwhile, as where an exception could be lost or printed.

    Nothing is changed where somebody has a handler of his own, or outside the main thread.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    try:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(status))
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_with_parent() -> None:
    """On Linux: be killed when the process that is named as the parent is gone."""
    parent = os.environ.pop(PARENT, '')
    if not parent or not sys.platform.startswith('linux'):
        return
    import ctypes

    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() != int(parent):  # it was quicker
        os._exit(0)
