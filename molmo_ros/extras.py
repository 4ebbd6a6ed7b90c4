# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Packages that only some uses need: the extra of each, and what to say where it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from molmo_ros.errors import UserError

EXTRAS = {
    'bitsandbytes': 'quantize',
    'embreex': 'demo',
    'mcp': 'agents',
    'mujoco': 'physics',
    'openai': 'remote',
    'peft': 'finetune',
    'pyarrow': 'evaluate',
    'pybullet': 'evaluate',
    'pyrealsense2': 'realsense',
    'pytransform3d': 'wheels-tf',
    'rerun': 'rerun',
    'rosbags': 'bags',
    'shtab': 'completion',
    'viser': 'view',
}
"""The extra of pyproject.toml by the package that is imported."""


def require(package: str, purpose: str, error: type[Exception] = UserError) -> None:
    """Raise `error`, which names the line that installs the package, where it is missing.

    package: a key of EXTRAS. purpose: what needs it, the beginning of a sentence.
    """
    if find_spec(package) is None:
        raise error(
            f'{purpose} needs {package}, which is not installed: '
            f"pip install 'molmo-ros[{EXTRAS[package]}]'"
        )
