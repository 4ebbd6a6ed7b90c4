# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The image is made of what is there, by the commands that README.md gives."""

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = re.sub(r'\\\n\s*', '', (ROOT / 'docker/Dockerfile').read_text())
README = (ROOT / 'README.md').read_text()


def words_of(command: str, text: str) -> list[str]:
    """The words after a command, wherever it stands; options and variables are left out."""
    found = re.findall(rf'{command} ([^&\n]+)', text)
    return [word for line in found for word in line.split() if word[0] not in '-$']


def test_what_is_copied_is_there_and_not_ignored():
    ignored = (ROOT / '.dockerignore').read_text().split()
    for source in re.findall(r'^COPY (\S+) ', DOCKERFILE, re.M):
        assert (ROOT / source).exists(), source
        assert not any(fnmatch(source, pattern) for pattern in ignored), source


def test_what_the_package_is_built_of_is_not_ignored():
    ignored = (ROOT / '.dockerignore').read_text().split()
    installed = re.findall(
        r'install\(DIRECTORY ([^)]+?)\s+DESTINATION', (ROOT / 'CMakeLists.txt').read_text()
    )
    folders = [folder.strip('/') for names in installed for folder in names.split()]
    assert 'molmo_ros' in folders and 'models' in folders
    for folder in [*folders, 'msg', 'srv', 'action', 'cmake', 'CMakeLists.txt', 'package.xml']:
        assert not any(fnmatch(folder, pattern) for pattern in ignored), folder


def test_it_is_made_as_the_readme_makes_it():
    for command in (
        'rosdep install --from-paths src --ignore-src -y',
        'colcon build --packages-select molmo_ros',
        'python3 -m venv --system-site-packages',
    ):
        assert command in DOCKERFILE and command in README
    assert {'torch', *words_of('pip install', DOCKERFILE)} <= {*words_of('pip install', README)}
    assert re.search(r'^ARG TORCH=torch$', DOCKERFILE, re.M)


@pytest.mark.parametrize(
    'arguments, run',
    [
        ([], 'ros2 launch molmo_ros perception.launch.py'),
        (
            ['camera:=demo', 'namespace:=left'],
            'ros2 launch molmo_ros perception.launch.py camera:=demo namespace:=left',
        ),
        (['ros2', 'topic', 'list'], 'ros2 topic list'),
    ],
)
def test_it_launches_with_arguments_and_runs_commands_in_the_sourced_environment(
    arguments, run, tmp_path
):
    bin_folder = tmp_path / 'opt/molmo_venv/bin'
    sourced = {
        'opt/ros/jazzy/setup.bash': 'export SOURCED=ros',
        'opt/molmo_venv/bin/activate': f'export SOURCED=$SOURCED,venv PATH={bin_folder}:$PATH',
        'ws/install/setup.bash': 'export SOURCED=$SOURCED,workspace',
        'opt/molmo_venv/bin/ros2': '#!/bin/sh\necho $SOURCED ros2 "$@"',
    }
    for name, text in sourced.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{text}\n')
        path.chmod(0o755)
    script = tmp_path / 'entrypoint.sh'
    text = (ROOT / 'docker/entrypoint.sh').read_text()
    script.write_text(re.sub(r'(?<![\w.])/(opt|ws)/', rf'{tmp_path}/\1/', text))
    command = ['env', 'ROS_DISTRO=jazzy', 'bash', str(script), *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.split(maxsplit=1) == ['ros,venv,workspace', f'{run}\n'], result.stderr


def test_what_it_launches_is_in_the_package():
    package, file = re.search(
        r'ros2 launch (\S+) (\S+)', (ROOT / 'docker/entrypoint.sh').read_text()
    ).groups()
    assert f'project({package})' in (ROOT / 'CMakeLists.txt').read_text()
    assert (ROOT / 'launch' / file).is_file()
