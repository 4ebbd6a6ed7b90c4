# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What docs/security.md promises: nobody is let in further than it says."""

import os
import socket
import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest

from molmo_ros.ros.client import PointQueryClient

CONFIG = Path(__file__).parents[2] / 'config'
NODE = 'molmo_point_query'


def allowed(node, kind, rule):
    """The full names that the policy allows a node of the root namespace."""
    policy = ElementTree.parse(CONFIG / 'sros2_policy.xml')
    (profile,) = policy.iterfind(f".//profile[@node='{node}']")
    words = [word.text for entry in profile.iterfind(f"{kind}s[@{rule}='ALLOW']") for word in entry]
    return {word.replace('~', f'/{node}') if word[0] in '~/' else f'/{word}' for word in words}


def test_the_policy_allows_the_node_what_it_has_and_no_more(caller, asking):
    seen = caller.node
    caller.wait_for(lambda: (NODE, '/') in seen.get_node_names_and_namespaces())

    def found():
        """What of the node has been found until now: one thing after the other is."""
        topics = {name for name, _ in seen.get_publisher_names_and_types_by_node(NODE, '/')}
        services = {name for name, _ in seen.get_service_names_and_types_by_node(NODE, '/')}
        heard = {name for name, _ in seen.get_subscriber_names_and_types_by_node(NODE, '/')}
        own = {name for name in topics | services if '/_action/' in name}
        actions = {f'/{name.split("/")[1]}' for name in own}
        # Beside what it has here: a topic for which vision_msgs has to be installed. Beside what it
        # hears as it is: compressed transports, and time in a simulation.
        other = {'/clock', '/parameter_events', '/image/compressed', '/depth/compressedDepth'}
        published = topics - own | {f'/{NODE}/detections'}
        return published, services - own, actions, heard | other

    words = [('topic', 'publish'), ('service', 'reply'), ('action', 'execute')]
    policy = tuple(allowed(NODE, *rule) for rule in [*words, ('topic', 'subscribe')])
    caller.wait_for(lambda: all(map(set.issuperset, found(), policy)))
    assert found() == policy


@pytest.fixture
def listening():
    """Addresses and ports on which a process waits for packets, of those DDS gave the domain."""

    def of(pid):
        inodes = set()
        for entry in Path(f'/proc/{pid}/fd').iterdir():
            target = os.readlink(entry)
            if target.startswith('socket:['):
                inodes.add(target[8:-1])
        domain = int(os.environ['ROS_DOMAIN_ID'])
        ports = range(7400 + 250 * domain, 7400 + 250 * (domain + 1))
        for line in Path('/proc/net/udp').read_text().splitlines()[1:]:
            words = line.split()
            address, port = words[1].split(':')
            if words[9] in inodes and int(port, 16) in ports:
                yield socket.inet_ntoa(struct.pack('<I', int(address, 16))), int(port, 16)

    return lambda pid: set(of(pid))


def test_with_the_profile_a_node_listens_on_this_machine_alone(listening, monkeypatch, run):
    script = str(Path(__file__).parent / 'scripted_node.py')
    for variable in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
        monkeypatch.setenv(variable, str(CONFIG / 'fastdds_localhost.xml'))
    guarded = run(script, '--ros-args', '-r', '__ns:=/guarded')
    with guarded as process, PointQueryClient('guarded') as client:
        assert client.wait_until_ready(60)
        sockets = listening(process.pid)
        assert sockets and {address for address, _ in sockets} == {'127.0.0.1'}
