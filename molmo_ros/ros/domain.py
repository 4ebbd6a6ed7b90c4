# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A corner of DDS of one's own, for the demo and for tests."""

from __future__ import annotations

import random
import socket

# Domains up to here keep clear of the ports that Linux hands out.
_DOMAINS = range(1, 101)


def free_domain() -> int:
    """A ROS_DOMAIN_ID that no participant on this machine uses now."""
    domains = list(_DOMAINS)
    random.SystemRandom().shuffle(domains)
    return next((domain for domain in domains if _is_free(domain)), domains[0])


def _is_free(domain: int) -> bool:
    """The first participant of a domain takes these ports."""
    return all(_can_bind(7400 + 250 * domain + offset) for offset in (10, 11))


def _can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(('', port))
        except OSError:
            return False
    return True
