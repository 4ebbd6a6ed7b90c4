# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros view` as a program of its own."""

import signal
import subprocess
import sys

import numpy as np

from molmo_ros.cameras.files import write_color


def test_ctrl_c_ends_it_cleanly_while_it_loads_and_is_looked_at(tmp_path, browse):
    write_color(tmp_path / 'a.png', np.full((60, 80, 3), 90, np.uint8))
    program = subprocess.Popen(
        [sys.executable, '-m', 'molmo_ros.cli', 'view', str(tmp_path / 'a.png'), '--port', '0'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = program.stdout.readline().split()[1]
        # A picture alone, so what one clicks on has a pixel and no position.
        browser = browse(address)
        browser.sees('there is neither depth nor a calibration')
        browser.point_at((0, 0, 0), (0.0, 0.0, 1.0))
        browser.sees('click at 40, 30')
        program.send_signal(signal.SIGINT)
        rest, errors = program.communicate(timeout=60)
    finally:
        program.kill()
    assert (program.returncode, rest, errors) == (0, '', '')
