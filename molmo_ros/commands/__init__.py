# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of `molmo-ros` that need no rendered world, one module each with a `main`."""

from molmo_ros.errors import UserError as UserError
