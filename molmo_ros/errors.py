# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What went wrong, for whoever typed the command or sent the request."""

_SHOWN = 80


class UserError(Exception):
    """Something the user can mend; the message says how."""


def shortened(text: object, most: int = _SHOWN) -> str:
    """A text that came from outside, as it may stand in a message: at most so many characters."""
    shown = str(text)
    return shown if len(shown) <= most else f'{shown[: most - 3]}...'
