# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What went wrong, for whoever typed the command."""


class UserError(Exception):
    """Something the user can mend; the message says how."""
