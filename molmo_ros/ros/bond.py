# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The heartbeat that nav2's lifecycle manager expects of the nodes it has activated."""

from __future__ import annotations

import importlib
from typing import Any

from rclpy.node import Node

# As nav2_util's LifecycleNode has them; its manager gives a node up after the second.
_TOPIC = 'bond'
_HEARTBEAT_S, _TIMEOUT_S = 0.1, 4.0


def make_bond(node: Node) -> Any:
    """A started bond, to be ended by `shutdown`; None where bondpy is not installed."""
    try:
        bondpy = importlib.import_module('bondpy.bondpy')
    except ImportError:
        return None
    try:
        bond = bondpy.Bond(node, _TOPIC, node.get_name())
        bond.set_heartbeat_period(_HEARTBEAT_S)
        bond.set_heartbeat_timeout(_TIMEOUT_S)
        bond.start()
    except Exception as error:  # another version of it: the node goes without
        node.get_logger().warning(f'no bond for a lifecycle manager: {error!r}')
        return None
    return bond
