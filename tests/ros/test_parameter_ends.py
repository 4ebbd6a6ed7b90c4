# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever the parameters are, within their ranges: a question is answered, and finitely."""

import threading
from contextlib import contextmanager
from math import isfinite

import numpy as np
import pytest
import rclpy
from molmo_ros.srv import PointQuery
from rclpy.context import Context
from rclpy.parameter import Parameter

from molmo_ros.engine import Answer
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.ros.answering import Status
from molmo_ros.ros.node_settings import read_settings
from molmo_ros.ros.parameters import CONFIGURED, POINT_QUERY
from molmo_ros.ros.point_query_node import PointQueryNode
from molmo_ros.spatial import LiftStatus

DEFAULTS = {parameter.name: parameter.default for parameter in POINT_QUERY}
CORNERS = 25


class Some:
    """Points at some places."""

    def answer(self, image, question, should_stop):
        points = tuple(ImagePoint(u, v, 'it') for u, v in ((80.0, 60.0), (3.0, 4.0), (159.0, 20.0)))
        return Answer('some', points, None, False, 1, {})

    def close(self):
        pass


@contextmanager
def asked_node(**overrides):
    """A node in this process, and its service."""
    context = Context()
    rclpy.init(context=context)
    loaded = threading.Event()
    node = PointQueryNode(
        lambda on_progress: Some(),
        context=context,
        namespace='ends',
        parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()],
    )
    (service,) = [s for s in node.services if s.srv_name.endswith('point_query')]

    def ask(request):
        while (response := service.callback(request, PointQuery.Response())).status == 4:
            loaded.wait(0.01)  # it is loading
        return response

    yield node, ask
    node.close()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def ends_of(parameter):
    return [type(parameter.default)(end) for end in parameter.range or parameter.choices]


def assert_answered(response, what):
    assert response.status == Status.SUCCESS, f'{what}: {response.message}'
    for point in response.points:
        place = point.position
        numbers = [place.x, place.y, place.z, *point.position_covariance]
        in_space = point.status_3d == LiftStatus.OK
        assert all(map(isfinite, numbers)) or not in_space, f'{what}: {numbers}'


@pytest.mark.parametrize('waypoint_from', ['surface', 'object'])
def test_each_parameter_may_be_at_either_end_of_its_range(request_about, waypoint_from):
    """As set while the node runs, one after the other, and many at once."""
    rng = np.random.default_rng(4)
    others = {'noise.preset', *CONFIGURED}  # which count when the model is loaded
    free = [p for p in POINT_QUERY if not p.fixed and ends_of(p) and p.name not in others]
    corners = [{p.name: end} for p in free for end in ends_of(p)]
    corners += [
        {p.name: end for p in free for end in [ends_of(p)[rng.integers(len(ends_of(p)))]]}
        for _ in range(CORNERS)
    ]
    with asked_node(**{'waypoint_from': waypoint_from}) as (node, ask):
        refused = 0
        for corner in corners:
            start = DEFAULTS | {'waypoint_from': waypoint_from}
            changed = {name: start[name] for name in (p.name for p in free)} | corner
            changed['timeout'] = max(changed['timeout'], 30.0)
            done = node.set_parameters_atomically(
                [Parameter(name, value=value) for name, value in changed.items()]
            )
            if not done.successful:
                assert 'lift.min_range' in done.reason and 'lift.max_range' in done.reason
                refused += 1
                continue
            assert_answered(ask(request_about()), corner)
        assert refused < len(corners) / 2


@pytest.mark.parametrize('end', [0, 1])
def test_a_node_starts_and_answers_with_its_fixed_parameters_at_their_ends(request_about, end):
    fixed = {p.name: ends_of(p)[end] for p in POINT_QUERY if p.fixed and p.range}
    with asked_node(**fixed) as (_, ask):
        assert_answered(ask(request_about()), fixed)


def test_parameters_that_change_together_are_read_together(request_about):
    """A question must not see the new least range beside the old largest one."""
    with asked_node() as (node, _):
        ended = threading.Event()

        def change():
            while not ended.is_set():
                for least, most in ((0.2, 0.5), (5.0, 9.0)):
                    node.set_parameters_atomically(
                        [
                            Parameter('lift.min_range', value=least),
                            Parameter('lift.max_range', value=most),
                        ]
                    )

        changing = threading.Thread(target=change)
        changing.start()
        for _ in range(400):
            lift = node.settings.grounding.lift
            assert (lift.min_range, lift.max_range) in [(0.1, 10.0), (0.2, 0.5), (5.0, 9.0)]
        ended.set()
        changing.join()


@pytest.mark.parametrize(
    ('given', 'sentence'),
    [
        ({'depth_pose': '0 0 0.1 0 0 0 1', 'depth_aligned': 'true'}, 'depth_pose would not count'),
        ({'grasp.up_frame': '/eye', 'optical_frame': 'eye'}, 'z axis goes forward'),
        ({'lift.min_range': 2.5, 'lift.max_range': 2.5}, 'not below lift.max_range'),
    ],
)
def test_two_that_cannot_both_be_meant_are_refused_with_a_sentence(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_settings(DEFAULTS | given)
