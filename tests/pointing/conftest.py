# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Property-based tests judge results, not how fast this machine is."""

from hypothesis import settings

settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')
