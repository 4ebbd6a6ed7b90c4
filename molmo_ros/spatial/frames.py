# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Names of coordinate frames: the only place that reads them."""

from __future__ import annotations

from typing import Any


def frame_name(text: str) -> str:
    """A frame as tf2 names it: without the leading slash that ROS 1 gave it."""
    return text.strip().lstrip('/')


def frame_of(message: Any) -> str:
    """The frame that a message's header names."""
    return frame_name(message.header.frame_id)
