# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The package as ROS and pip see it."""

import importlib
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import tomllib
from catkin_pkg.package import parse_package

from molmo_ros.share import share_folder

ROOT = Path(__file__).parents[2]
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
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']
    changelog = (ROOT / 'CHANGELOG.rst').read_text()
    assert package == project == version('molmo-ros')
    assert re.search(rf'^{re.escape(package)} \(', changelog, re.M)


@pytest.mark.parametrize('name, module', ENTRY_POINTS)
def test_executables_have_something_to_run(name, module):
    assert callable(importlib.import_module(module).main)


def test_the_command_is_installed_as_the_same_thing_everywhere():
    scripts = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['scripts']
    assert scripts == {'molmo-ros': dict(ENTRY_POINTS)['molmo-ros'] + ':main'}


def test_files_beside_the_modules_are_found():
    assert (share_folder() / 'package.xml').is_file()


def test_requirements_are_pinned_and_within_the_lock():
    def lines(name: str) -> list[str]:
        return (ROOT / f'requirements/{name}.txt').read_text().lower().splitlines()

    for ros in ('ros', 'ros-kilted'):
        locked = lines('lock') + lines(f'{ros}-lock')
        for name in (ros, 'runtime', 'realsense', 'test'):
            for line in lines(name):
                assert not line or line.startswith(('#', '-r ')) or line in locked
