# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The distribution's cv_bridge, where there is one and it works; conversions.py does without.

PyPI has packages of the same name, made for ROS 1: only what the ament index knows is taken. A
cv_bridge that was built for NumPy 1 ends the process under NumPy 2, so another process tries first.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

# What it makes RGB of by itself, and the bits of a number.
_KNOWN = {
    **dict.fromkeys(('rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', 'yuv422', 'yuv422_yuy2'), 8),
    **dict.fromkeys(('rgb16', 'bgr16', 'rgba16', 'bgra16', 'mono16'), 16),
    **{f'bayer_{pattern}{n}': n for pattern in ('rggb', 'bggr', 'gbrg', 'grbg') for n in (8, 16)},
}
_CHANNELS = {'rgb': 3, 'bgr': 3, 'rgba': 4, 'bgra': 4, 'yuv422': 2, 'yuv422_yuy2': 2}
_TRIAL_S = 30.0
_TRIAL = """
from cv_bridge import CvBridge
from sensor_msgs.msg import Image
pair = Image(width=2, height=1, step=6, encoding='bgr8', data=bytes(range(6)))
assert CvBridge().imgmsg_to_cv2(pair, 'rgb8').tolist() == [[[2, 1, 0], [5, 4, 3]]]
"""


def bridged(message: Image) -> NDArray | None:
    """(H, W, 3) RGB, uint8 or uint16, as cv_bridge has it; None where it cannot be had from it.

    It knows no padded rows, no foreign byte order, and not every encoding.
    """
    convert = distribution_bridge()
    if convert is None or not _plain(message):
        return None
    try:
        return np.asarray(convert(message, f'rgb{_KNOWN[message.encoding]}'))
    except Exception:
        # Whatever it does not take, ours takes or refuses with a reason.
        return None


@lru_cache(maxsize=1)
def distribution_bridge() -> Callable[[Any, str], Any] | None:
    """CvBridge().imgmsg_to_cv2 of the distribution; None where there is none that works."""
    if not _is_of_the_distribution():
        return None
    try:
        tried = subprocess.run(
            [sys.executable, '-c', _TRIAL], capture_output=True, timeout=_TRIAL_S, check=False
        )
        if tried.returncode != 0:
            return None
        from cv_bridge import CvBridge
    except (ImportError, OSError, subprocess.TimeoutExpired):
        return None
    convert: Callable[[Any, str], Any] = CvBridge().imgmsg_to_cv2
    return convert


def _is_of_the_distribution() -> bool:
    """Whether the cv_bridge that Python finds lies where the ament index says that it is."""
    try:
        from ament_index_python.packages import get_package_prefix

        prefix = Path(get_package_prefix('cv_bridge')).resolve()
        found = importlib.util.find_spec('cv_bridge')
    except (ImportError, LookupError, ValueError):
        return False
    if found is None or found.origin is None:
        return False
    return prefix in Path(found.origin).resolve().parents


def _plain(message: Image) -> bool:
    bits = _KNOWN.get(message.encoding)
    if bits is None or message.is_bigendian or not message.width or not message.height:
        return False
    if message.encoding.startswith('yuv') and message.width % 2:
        return False
    channels = _CHANNELS.get(message.encoding.removesuffix(str(bits)), 1)
    row = message.width * channels * bits // 8
    return bool(message.step == row and len(message.data) == row * message.height)
