# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How processes begin and end: without a traceback, at once, and not without who started them.

Imports nothing that takes time: until a handler is set, Ctrl-C is a traceback.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import NoReturn

# What a shell says of a process that a closed pipe has ended.
PIPE_CLOSED = 141
# What writing to standard output fails with, of what a command does.
_NO_OUTPUT = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
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


def told_all(status: int) -> int:
    """The exit status of a command, once all that it printed has left. Raises OSError."""
    sys.stdout.flush()
    return status


def cannot_tell(error: OSError, name: str) -> int:
    """The exit status of a command whose output nobody takes; raises the error if it is another.

    A closed pipe is how `| head` ends a command and worth no word.
    """
    closed = isinstance(error, BrokenPipeError)
    if not closed and (error.errno not in _NO_OUTPUT or error.filename is not None):
        raise error
    # Python would try once more at its end, and write of that.
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if closed:
        return PIPE_CLOSED
    print(f'{name}: standard output cannot be written: {error.strerror}', file=sys.stderr)
    return 2


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
