# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demo, run once as a user runs it."""

import subprocess
import sys

import pytest

from molmo_ros.tabletop.demo.askings import TABLE

DEMO = [sys.executable, '-m', 'molmo_ros.cli', 'demo']


@pytest.fixture(scope='session')
def demo_command():
    return DEMO


@pytest.fixture(scope='session')
def demonstration(tmp_path_factory):
    """What `make demo` does; its folder, and how it ended."""
    folder = tmp_path_factory.mktemp('demo')
    result = subprocess.run(DEMO, cwd=folder, capture_output=True, text=True)
    return folder, result


@pytest.fixture(scope='session', params=['easy', 'rich'])
def shown(request, demonstration, tmp_path_factory):
    """A table, and the demo of it: its folder, and how it ended."""
    if request.param == TABLE:
        return request.param, *demonstration
    folder = tmp_path_factory.mktemp(request.param)
    command = [*DEMO, '--table', request.param]
    return (
        request.param,
        folder,
        subprocess.run(command, cwd=folder, capture_output=True, text=True),
    )
