# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`pip install`, beside ROS 2 from PyPI wheels or without a ROS 2 that is built against here.

Where the wheels' generators are in the environment, CMake builds the interfaces into a staging
folder laid out as the prefix will be, and its files are installed as data files: into the prefix,
whether the modules are installed or editable. Elsewhere the modules and share/ are all there is.
"""

from __future__ import annotations

import os
import re
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
SHARE = ('config', 'launch', 'models')

HAS_ROS = (PREFIX / 'share/rosidl_default_generators').is_dir()


def build_interfaces(source: Path, build: Path) -> None:
    """Build one package of interfaces with CMake and install it into the staging folder."""
    cmake = shutil.which('cmake', path=f'{PREFIX}/bin{os.pathsep}{os.environ["PATH"]}')
    if cmake is None:
        sys.exit('molmo_ros: to build its interfaces cmake is needed: pip install cmake ninja')
    environment = os.environ | {
        'PATH': f'{PREFIX}/bin{os.pathsep}{os.environ["PATH"]}',
        'AMENT_PREFIX_PATH': str(PREFIX),
        'CMAKE_PREFIX_PATH': str(PREFIX),
    }
    # Of pip's build isolation; the generators are modules of the environment itself.
    environment.pop('PYTHONPATH', None)
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


def shared_files() -> list[tuple[str, list[str]]]:
    """What CMake would install into share/: the demo checkpoint, parameters, launch files."""
    folders = {'share/molmo_ros': ['package.xml']}
    for path in sorted(path for top in SHARE for path in (ROOT / top).rglob('*')):
        relative = path.relative_to(ROOT)
        if path.is_file() and '__pycache__' not in relative.parts:
            folders.setdefault(f'share/molmo_ros/{relative.parent}', []).append(str(relative))
    return list(folders.items())


class InstallData(install_data):
    """Builds the interfaces where there is ROS, then installs all files into the prefix."""

    def run(self) -> None:
        if HAS_ROS:
            self.data_files += built_files()
        else:
            print(
                f'molmo_ros: there is no ROS 2 in {PREFIX} to build interfaces against; they are '
                'left out, and `molmo-ros ask` and what else needs no ROS is installed',
                file=sys.stderr,
            )
            self.data_files += shared_files()
        super().run()


def built_files() -> list[tuple[str, list[str]]]:
    """Build the interfaces; the files to install, and one that makes the prefix known to ROS."""
    for path in (ROOT, PREFIX):
        if not re.fullmatch(r'[\w./+@~=,-]+', str(path), re.ASCII):
            sys.exit(
                f"molmo_ros: {str(path)!r} has a space or a letter that ROS's generators cannot "
                'work with: use a folder named in plain letters, digits and . _ - +'
            )
    shutil.rmtree(STAGE, ignore_errors=True)
    build_interfaces(WHEELS / 'tf2_msgs', BUILD / 'tf2_msgs')
    build_interfaces(ROOT, BUILD / 'molmo_ros')
    return [(SITE_PACKAGES, ['wheels/molmo_ros_prefix.pth']), *staged_files()]


class MolmoDistribution(Distribution):
    """A wheel for one platform and Python where the interfaces are compiled, for any elsewhere."""

    def has_ext_modules(self) -> bool:
        return HAS_ROS

    def has_data(self) -> bool:
        """Asked by setuptools' editable_wheel before it installs data files."""
        return True


setup(
    distclass=MolmoDistribution,
    cmdclass={'install_data': InstallData},
    # Completed by InstallData; empty, the command would not be run.
    data_files=[('share/molmo_ros', ['LICENSE'])],
)
