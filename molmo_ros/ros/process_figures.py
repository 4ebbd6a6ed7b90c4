# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What this process holds, from what Linux and torch count anyway."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_MIB = 1 << 20


def process_figures() -> dict[str, str]:
    """Readable values: memory, threads, descriptors; those that are not known are left out.

    Memory of the GPU is what torch took of it; asking the GPU itself could wait for a pass.
    """
    figures = {}
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        figures['RSS (MiB)'] = f'{pages * os.sysconf("SC_PAGE_SIZE") / _MIB:.0f}'
        figures['threads'] = str(len(os.listdir('/proc/self/task')))
        figures['descriptors'] = str(len(os.listdir('/proc/self/fd')))
    except (OSError, ValueError, IndexError):  # not Linux
        pass
    return figures | _of_gpu()


def _of_gpu() -> dict[str, str]:
    # Not imported here, and perhaps just being so.
    cuda = getattr(sys.modules.get('torch'), 'cuda', None)
    is_initialized = getattr(cuda, 'is_initialized', None)
    if cuda is None or is_initialized is None or not is_initialized():
        return {}
    devices = range(cuda.device_count())
    used = sum(cuda.memory_allocated(device) for device in devices)
    reserved = sum(cuda.memory_reserved(device) for device in devices)
    return {
        'GPU memory used (MiB)': f'{used / _MIB:.0f}',
        'GPU memory reserved (MiB)': f'{reserved / _MIB:.0f}',
    }
