# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of `molmo-ros`, one module each."""


class UserError(Exception):
    """Something the user can mend; the message says how."""
