# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service by name, so that it can be a readable parameter."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
    qos_profile_system_default,
)
from rclpy.topic_endpoint_info import TopicEndpointInfo

# Depth 5 as rclpy's own sensor data profile has it: newest few, loss allowed.
_SENSOR_DATA = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT
)
_RELIABLE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE
)
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
PROFILES = {
    'sensor_data': _SENSOR_DATA,
    'reliable': _RELIABLE,
    'latched': LATCHED,
    'system_default': qos_profile_system_default,
}


def is_latched(endpoint: TopicEndpointInfo) -> bool:
    """Whether a publisher keeps its last message for those who come later."""
    profile = endpoint.qos_profile
    return (
        profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and profile.reliability == ReliabilityPolicy.RELIABLE
    )


def mismatches(node: Node, topic: str, profile: QoSProfile) -> list[str]:
    """Why publishers of the topic cannot reach a subscription of this profile; [] if all can."""
    reasons = []
    for publisher in node.get_publishers_info_by_topic(topic):
        compatibility, reason = qos_check_compatible(publisher.qos_profile, profile)
        if compatibility == QoSCompatibility.ERROR:
            reasons.append(f'{publisher.node_name} on {topic}: {_readable(reason)}')
    return reasons


def _readable(reason: str) -> str:
    return reason.replace('ERROR: ', '').strip(' ;').lower()
