# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a package that only some uses need is missing: one sentence, and what installs it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tomllib

from molmo_ros.extras import EXTRAS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
NOT_FOR_ROBOTS = (
    'embreex',
    'pytransform3d',
    'scipy',
    'matplotlib',
    'pyarrow',
    'pybullet',
    'peft',
    'viser',
)


def run_without(packages, code, cwd, *arguments):
    """Python, in which these packages cannot be imported."""
    hide = f'import sys; sys.modules.update(dict.fromkeys({list(packages)}))'
    command = [sys.executable, '-c', f'{hide}\n{code}', *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def command_without(package, words, cwd):
    code = 'import sys; from molmo_ros.cli import main; sys.exit(main(sys.argv[1:]))'
    return run_without([package], code, cwd, *words)


@pytest.fixture
def folder(tmp_path):
    """A picture to learn from, and a data set in Parquet of which the name is enough."""
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((48, 64, 3), np.uint8))
    (tmp_path / 'images').mkdir()
    (tmp_path / 'a.png').rename(tmp_path / 'images/a.png')
    lines = [{'image': 'a.png', 'label': 'stapler', 'points': [[12, 30]]}]
    (tmp_path / 'points.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    (tmp_path / 'parquet').mkdir()
    (tmp_path / 'parquet/test.parquet').write_bytes(b'')
    return tmp_path


@pytest.mark.parametrize(
    'package, extra, words',
    [
        ('embreex', 'demo', 'demo'),
        ('mujoco', 'physics', 'demo --pick can'),
        ('embreex', 'demo', 'eval tabletop --limit 1'),
        ('pybullet', 'evaluate', 'eval tabletop --limit 1 --renderer bullet'),
        ('pyarrow', 'evaluate', 'eval pixmo-points parquet'),
        ('peft', 'finetune', 'finetune . --out learnt'),
        ('bitsandbytes', 'quantize', 'ask images/a.png stapler --quantize int8'),
        ('openai', 'remote', 'ask images/a.png stapler --checkpoint http://127.0.0.1:9/v1#Molmo2'),
        ('rerun', 'rerun', 'ask images/a.png stapler --rrd a.rrd'),
        ('shtab', 'completion', 'completion bash'),
        ('viser', 'view', 'view'),
        ('viser', 'view', 'demo --view'),
    ],
)
def test_a_command_names_the_line_that_installs_what_it_lacks(package, extra, words, folder):
    result = command_without(package, words.split(), folder)
    assert result.returncode == 2, result.stdout + result.stderr
    said = result.stderr.strip().splitlines()[-1]
    assert f"{package}, which is not installed: pip install 'molmo-ros[{extra}]'" in said
    assert 'Traceback' not in result.stderr


@pytest.mark.parametrize(
    'package, extra, module',
    [
        ('embreex', 'demo', 'molmo_ros.tabletop.camera_node'),
        ('pytransform3d', 'wheels-tf', 'molmo_ros.ros.point_query_node'),
    ],
)
def test_a_node_names_the_line_that_installs_what_it_lacks(package, extra, module, tmp_path):
    code = f'import sys; from {module} import main; sys.exit(main([]))'
    # tf2_ros would do instead, where there is one.
    result = run_without([package, 'tf2_ros'], code, tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{package}, which is not installed: pip install 'molmo-ros[{extra}]'" in result.stderr
    assert 'Traceback' not in result.stderr


def test_the_demo_says_that_it_needs_ros(tmp_path):
    result = command_without('rclpy', ['demo'], tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert 'needs ROS 2' in result.stderr and 'setup file' in result.stderr


@pytest.mark.parametrize(
    'hidden, reason', [('rclpy', 'source the setup file'), ('molmo_ros.srv', 'colcon build')]
)
def test_robot_code_is_told_what_an_import_lacks(hidden, reason, tmp_path):
    result = run_without([hidden], 'import molmo_ros.ros.client', tmp_path)
    last = result.stderr.splitlines()[-1]
    assert last.startswith('ModuleNotFoundError: molmo_ros.ros needs') and reason in last


@pytest.mark.parametrize(
    'words', ['ask images/a.png stapler', 'eval pictures .', 'check {demo}', 'fetch --help']
)
def test_what_a_robot_installs_is_enough_for(words, folder):
    """Without ROS, and without any package that an extra brings."""
    from molmo_ros.share import share_folder

    words = words.format(demo=share_folder() / 'models/tabletop').split()
    hidden = [*EXTRAS, 'scipy', 'matplotlib', 'rclpy', 'sensor_msgs', 'hypothesis']
    code = 'import sys; from molmo_ros.cli import main; sys.exit(main(sys.argv[1:]))'
    result = run_without(hidden, code, folder, *words)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize('module', ['molmo_ros.ros.point_query_node', 'molmo_ros.ros.client'])
def test_a_node_imports_nothing_that_only_some_uses_need(module):
    code = f'import {module}, sys; print(*sys.modules.keys() & set({NOT_FOR_ROBOTS}))'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_every_extra_that_is_named_exists_and_brings_the_package():
    extras = PROJECT['optional-dependencies']
    for package, extra in EXTRAS.items():
        named = {'mujoco': 'mujoco-core', 'rerun': 'rerun-sdk'}.get(package, package)
        assert named in [re.match(r'[\w-]+', line).group() for line in extras[extra]]
