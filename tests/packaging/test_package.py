# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The package as ROS and pip see it."""

import importlib
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import tomllib
from catkin_pkg.changelog import get_changelog_from_path
from catkin_pkg.package import parse_package
from catkin_pkg.package_version import get_forthcoming_label, update_changelog_sections

from molmo_ros.share import share_folder

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
ROSDEP_KEYS = {
    'numpy': 'python3-numpy',
    'opencv-python-headless': 'python3-opencv',
    'pyyaml': 'python3-yaml',
    'rich': 'python3-rich',
}
ROBOT = {
    *ROSDEP_KEYS,
    *('huggingface-hub', 'safetensors', 'tokenizers', 'torch', 'transformers'),
}
ENTRY_POINTS = re.findall(
    r'^install_entry_point\((\S+) (\S+)\)', (ROOT / 'CMakeLists.txt').read_text(), re.M
)


def test_manifest_is_valid_for_ros_tools():
    warnings: list[str] = []
    package = parse_package(str(ROOT / 'package.xml'), warnings=warnings)
    package.validate(warnings=warnings)
    assert not warnings
    assert package.package_format == 3
    assert (ROOT / package.licenses[0].file).is_file()
    assert 'rosidl_interface_packages' in [group.name for group in package.member_of_groups]


def test_every_release_carries_one_version():
    package = parse_package(str(ROOT / 'package.xml')).version
    assert package == PROJECT['version'] == version('molmo-ros')


def test_a_release_finds_its_changes_in_the_changelog(tmp_path):
    """catkin_prepare_release gives the section on top a version, and bloom reads it."""
    changelog = get_changelog_from_path(str(ROOT / 'CHANGELOG.rst'), 'molmo_ros')
    assert get_forthcoming_label(changelog.rst) == 'Forthcoming'
    copy = tmp_path / 'CHANGELOG.rst'
    update_changelog_sections({'molmo_ros': (copy, changelog, 'Forthcoming')}, '0.1.0')
    released = get_changelog_from_path(str(copy)).get_content_of_version('0.1.0')
    assert any('point_query' in str(item) for item in released)


@pytest.mark.parametrize('name, module', ENTRY_POINTS)
def test_executables_have_something_to_run(name, module):
    assert callable(importlib.import_module(module).main)


def test_the_command_is_installed_as_the_same_thing_everywhere():
    assert PROJECT['scripts'] == {'molmo-ros': dict(ENTRY_POINTS)['molmo-ros'] + ':run'}


def test_files_beside_the_modules_are_found():
    assert (share_folder() / 'package.xml').is_file()


def names_of(lines):
    """The projects that lines of requirements name, as pip compares them."""
    lines = [line for line in lines if line and not line.startswith('#')]
    return {re.match(r'[\w.-]+', line).group().lower().replace('_', '-') for line in lines}


def requirements(name):
    return (ROOT / f'requirements/{name}.txt').read_text().splitlines()


def test_a_robot_installs_what_it_runs_and_no_more():
    assert names_of(PROJECT['dependencies']) == ROBOT == names_of(requirements('runtime'))


def test_a_workspace_gets_from_rosdep_and_pip_together_what_a_robot_runs():
    """README's pip line and package.xml; a package that neither names would be missing."""
    package = parse_package(str(ROOT / 'package.xml'))
    keys = {dependency.name for dependency in package.exec_depends}
    by_rosdep = {name for name, key in ROSDEP_KEYS.items() if key in keys}
    section = (ROOT / 'README.md').read_text().split('## In a ROS 2 workspace')[1].split('\n## ')[0]
    by_pip = set(re.search(r'^pip install (.*)$', section, re.M).group(1).split())
    assert by_rosdep | by_pip == ROBOT
    assert by_rosdep & by_pip == set()


@pytest.mark.parametrize('extra', PROJECT['optional-dependencies'])
def test_an_extra_and_its_pinned_requirements_name_the_same(extra):
    assert names_of(PROJECT['optional-dependencies'][extra]) == names_of(requirements(extra))


def line_of(makefile, name):
    return re.search(rf'^{name} := (.*)$', makefile, re.M).group(1)


def test_make_installs_every_extra_for_the_tests_and_none_too_much_for_the_demo():
    makefile = (ROOT / 'Makefile').read_text()
    demo, tests = (
        set(re.findall(r'([\w-]+)(?:\$\(OTHER\))?\.txt', line_of(makefile, name)))
        for name in ('DEMO', 'TESTS')
    )
    assert demo == {'ros', 'runtime', 'wheels-tf', 'demo'}
    assert demo | tests == {'ros', 'runtime', *PROJECT['optional-dependencies']}


def test_requirements_are_pinned_and_within_the_lock():
    for ros in ('ros', 'ros-kilted'):
        lock = [line.lower() for name in ('lock', f'{ros}-lock') for line in requirements(name)]
        for name in (ros, 'runtime', *PROJECT['optional-dependencies']):
            for line in requirements(name):
                if line and not line.startswith('#'):
                    assert line.lower().split(';')[0] in lock


def test_each_path_of_the_fast_tests_exists():
    for line in (ROOT / 'tests/fast.txt').read_text().splitlines():
        assert (ROOT / line).exists(), line
