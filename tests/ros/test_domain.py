# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two demos, or a demo and a robot, on one machine do not hear each other."""

import socket
from contextlib import ExitStack, suppress

from molmo_ros.ros.domain import free_domain


def test_a_domain_that_somebody_is_in_is_not_chosen():
    """The ports are those that DDS gives to the first participant of a domain."""
    left = free_domain()
    with ExitStack() as taken:
        for domain in {*range(1, 101)} - {left}:
            port = taken.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with suppress(OSError):
                port.bind(('', 7400 + 250 * domain + 10))
        assert {free_domain() for _ in range(5)} == {left}


def test_domains_keep_clear_of_the_ports_that_linux_hands_out():
    assert all(1 <= free_domain() <= 100 for _ in range(20))
