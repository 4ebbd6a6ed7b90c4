# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The client finds its node by what that offers, whatever the node and its topics are called."""

import pytest
from rclpy.action import ActionClient

from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient, ServiceUnavailable
from molmo_ros.ros.responses import RCLError


@pytest.mark.parametrize(
    'namespace, service',
    [
        ('renamed', 'point_query'),
        ('elsewhere', 'point_query'),
        ('otherwise', 'find'),
        ('silent', 'point_query'),
        ('', '/renamed/point_query'),
    ],
)
def test_a_node_of_other_names_is_ready_too(special_nodes, namespace, service):
    with PointQueryClient(namespace, service=service) as client:
        assert client.wait_until_ready(120), client.engine_state
        assert client.engine_state == 'ready'
        assert client.ask('at 1 1', timeout=5).status is Status.NO_FRAME


def test_a_model_that_failed_is_told_without_diagnostics_too(special_nodes):
    with PointQueryClient('mute') as client:
        assert not client.wait_until_ready(120)
        assert client.engine_state == 'failed: no such checkpoint: set the parameter checkpoint'


def test_a_question_that_cannot_be_sent_is_not_waited_for(client_of, monkeypatch):
    """On a busy machine DDS gives up what it cannot send within 0.1 s, and rclpy raises that."""

    def send(client, *goal, **named):
        raise RCLError('cannot publish data')

    client = client_of('lonely')
    monkeypatch.setattr(ActionClient, 'send_goal_async', send)
    with pytest.raises(ServiceUnavailable, match='could not be sent: cannot publish data'):
        client.start('at 1 1').result(20)


@pytest.mark.parametrize(
    ('given', 'told'),
    [
        ({'timeout': 0}, 'timeout is 0 s: give more than 0'),
        ({'timeout': -0.5}, 'timeout is -0.5 s'),
        ({'timeout': float('inf')}, 'timeout is inf s'),
        ({'timeout': float('nan')}, 'timeout is nan s'),
        ({'max_points': -1}, 'max_points is -1: give how many, or 0 for all'),
        ({'max_points': 1.5}, 'max_points is 1.5'),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused_before_a_node_is_waited_for(given, told):
    with PointQueryClient('nobody') as client:
        for ask in (client.ask, client.start, client.watch):
            with pytest.raises(ValueError, match=told):
                ask('the mug', **given)
        for name in ('period', 'lease'):
            with pytest.raises(ValueError, match=f'{name} is -2 s: give 0 or more'):
                client.watch('the mug', **{name: -2})
