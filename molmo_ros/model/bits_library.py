# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes, imported without what it would fetch."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec


def import_bitsandbytes() -> None:
    """Import bitsandbytes, if it is installed; to be called before anything else does.

    On a CPU with AVX512-BF16 it gets the code of a kernel from the internet where the package
    `kernels` is installed, and advises to install that where it is not. The kernel is not used
    here, see `four_bits`, and nothing is fetched that nobody asked for.
    """
    if 'bitsandbytes' in sys.modules or find_spec('bitsandbytes') is None:
        return
    logging.getLogger('bitsandbytes.backends.cpu.ops').setLevel(logging.ERROR)
    there = 'kernels' in sys.modules
    hidden = sys.modules.get('kernels')
    sys.modules['kernels'] = None  # type: ignore[assignment]
    try:
        import bitsandbytes  # noqa: F401
    finally:
        if there:
            sys.modules['kernels'] = hidden  # type: ignore[assignment]
        else:
            del sys.modules['kernels']
