# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `pip install` and `make` do where there is no ROS 2, and where they cannot work."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOPS = (
    *('action', 'cmake', 'config', 'launch', 'models', 'molmo_ros', 'msg', 'requirements'),
    *('srv', 'wheels', 'CMakeLists.txt', 'LICENSE', 'Makefile', 'README.md', 'package.xml'),
    *('pyproject.toml', 'setup.py'),
)
ODD_NAMES = ('a robot', 'Müller', "it's", 'a;b')


def copied(folder):
    """The files that are built from, in a folder of their own."""
    folder.mkdir()
    for top in TOPS:
        if (ROOT / top).is_dir():
            shutil.copytree(ROOT / top, folder / top, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / top, folder)
    return folder


@pytest.fixture(scope='module')
def without_ros(tmp_path_factory):
    """An environment in which the package was installed beside no ROS 2, and what pip said."""
    folder = tmp_path_factory.mktemp('without_ros')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder / 'venv'], check=True)
    # pip and setuptools are those of this environment; the prefix is the new one's.
    outside = os.environ | {'PYTHONPATH': sysconfig.get_path('purelib')}
    python = folder / 'venv/bin/python'
    options = ['--no-index', '--no-deps', '--no-build-isolation', '--no-cache-dir']
    command = [python, '-m', 'pip', '-v', 'install', *options, '--ignore-installed', '.']
    source = copied(folder / 'source')
    result = subprocess.run(command, cwd=source, env=outside, capture_output=True, text=True)
    return python, result


def test_without_ros_it_installs_and_says_in_one_line_what_is_left_out(without_ros):
    _, result = without_ros
    assert result.returncode == 0, result.stdout + result.stderr
    said = [line for line in result.stderr.splitlines() if 'left out' in line]
    assert len(said) == 1 and 'no ROS 2' in said[0]
    assert 'molmo_ros-0.1.0-py3-none-any.whl' in result.stdout


def test_without_ros_the_demo_checkpoint_and_the_rest_of_share_are_found(without_ros, tmp_path):
    python, _ = without_ros
    code = 'from molmo_ros.share import share_folder; print(share_folder())'
    environment = {key: value for key, value in os.environ.items() if key != 'AMENT_PREFIX_PATH'}
    environment.pop('PYTHONPATH', None)
    result = subprocess.run(
        [python, '-c', code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    share = Path(result.stdout.strip())
    assert share == python.parents[1] / 'share/molmo_ros'
    for top in ('models', 'config', 'launch'):
        files = [p.relative_to(ROOT) for p in (ROOT / top).rglob('*') if p.is_file()]
        for path in (path for path in files if '__pycache__' not in path.parts):
            assert (share / path).read_bytes() == (ROOT / path).read_bytes()
    assert (python.parent / 'molmo-ros').is_file()


@pytest.mark.parametrize('name', ODD_NAMES)
def test_a_path_that_ros_cannot_be_built_in_is_refused_before_anything_is_done(name, tmp_path):
    clone = copied(tmp_path / name)
    result = subprocess.run(['make', 'demo'], cwd=clone, capture_output=True, text=True)
    assert result.returncode != 0
    said = [line for line in result.stderr.splitlines() if not line.startswith('make')]
    assert len(said) == 1 and 'move it to a path' in said[0], result.stderr
    assert not (clone / '.venv').exists()


def test_pip_refuses_such_a_path_too_where_it_would_build_the_interfaces(tmp_path):
    clone = copied(tmp_path / 'a robot')
    command = [sys.executable, 'setup.py', '-q', 'bdist_wheel']
    result = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert result.returncode != 0
    assert 'use a folder named in plain letters' in result.stderr.splitlines()[-1]


def planned(clone, target):
    """What `make TARGET` would run."""
    # Of the make that may run this very test nothing is handed on.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(('MAKE', 'MFLAGS'))}
    command = ['make', '--dry-run', '--no-print-directory', target]
    result = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def done(clone, plan):
    """Leave behind what such a run leaves behind."""
    (clone / '.venv/bin').mkdir(parents=True, exist_ok=True)
    for stamp in ['.venv/bin/pip', *re.findall(r'touch (\S+)', plan)]:
        (clone / stamp).touch()


def test_a_second_run_installs_nothing_and_the_tests_add_what_the_demo_left_out(tmp_path):
    clone = copied(tmp_path / 'clone')
    first = planned(clone, 'demo')
    assert 'demo.txt' in first and '--editable' in first and 'finetune.txt' not in first
    done(clone, first)
    assert planned(clone, 'demo') == '.venv/bin/molmo-ros demo\n'
    tests = planned(clone, 'test')
    assert 'finetune.txt' in tests and '--editable' not in tests
    done(clone, tests)
    assert planned(clone, 'test') == '.venv/bin/python -m pytest -n 2 --dist loadfile\n'
    assert planned(clone, 'demo') == '.venv/bin/molmo-ros demo\n'


def test_a_changed_interface_is_built_and_a_changed_pin_installed(tmp_path):
    clone = copied(tmp_path / 'clone')
    done(clone, planned(clone, 'demo'))
    with (clone / 'msg/StageTime.msg').open('a') as file:
        file.write('# Another word.\n')
    plan = planned(clone, 'demo')
    assert '--editable' in plan and 'demo.txt' not in plan
    with (clone / 'requirements/demo.txt').open('a') as file:
        file.write('# Another word.\n')
    assert 'demo.txt' in planned(clone, 'demo')
