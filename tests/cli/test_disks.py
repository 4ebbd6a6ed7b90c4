# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Full disks and closed pipes cost no figures, leave no half files and write no tracebacks."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from molmo_ros.cameras.files import read_color, write_color
from molmo_ros.errors import UserError
from molmo_ros.output import whole_file, write_whole
from molmo_ros.starting import PIPE_CLOSED


@pytest.fixture
def small_disk():
    """No file may be larger than 8 kB meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (90, 70, 3), np.uint8)


def test_a_picture_that_the_disk_cannot_hold_leaves_the_old_one_as_it_was(tmp_path, request):
    path = tmp_path / 'answer.png'
    write_color(path, noise(1))
    request.getfixturevalue('small_disk')
    with pytest.raises(UserError, match=r'answer\.png cannot be written: File too large'):
        write_color(path, noise(2))
    assert (read_color(path) == noise(1)).all()
    assert [file.name for file in tmp_path.iterdir()] == ['answer.png']


def test_a_file_is_not_there_before_it_is_whole(tmp_path):
    path = tmp_path / 'figures.json'
    with whole_file(path) as partial:
        partial.write_text('{"half":')
        assert not path.exists()
        partial.write_text('{}')
    assert path.read_text() == '{}' and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ZeroDivisionError), whole_file(path) as partial:
        partial.write_text('{"half":')
        raise ZeroDivisionError
    assert path.read_text() == '{}' and len(list(tmp_path.iterdir())) == 1


def test_a_link_stays_one_and_what_is_no_file_is_written_to(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'target')
    write_whole(tmp_path / 'link', 'words')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'target').read_text() == 'words'
    reading, writing = os.pipe()
    write_whole(Path(f'/dev/fd/{writing}'), b'through a pipe')
    os.close(writing)
    assert os.read(reading, 100) == b'through a pipe'
    os.close(reading)
    with pytest.raises(UserError, match='No space left'):
        write_whole(Path('/dev/full'), 'words')


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(UserError, match=r'/proc/answer\.png cannot be written'):
        write_whole(Path('/proc/answer.png'), 'words')


SHOW = """
import sys
import molmo_ros.commands.check as command
from molmo_ros import cli

def main(argv):
    for _ in range(20_000):
        print('a line of figures')
    return 0

command.main = main
sys.exit(cli.main(['check']))
"""


def shown(stdout, script=SHOW):
    return subprocess.Popen([sys.executable, '-c', script], stdout=stdout, stderr=subprocess.PIPE)


def test_a_closed_pipe_ends_a_command_without_a_word():
    process = shown(subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert errors == b'' and process.returncode == PIPE_CLOSED


@pytest.mark.parametrize('lines', [20_000, 1])
def test_an_output_that_is_full_is_told_in_one_sentence(lines):
    with open('/dev/full', 'w') as full:
        process = shown(full, SHOW.replace('20_000', str(lines)))
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert (
        errors == b'molmo-ros check: standard output cannot be written: No space left on device\n'
    )
