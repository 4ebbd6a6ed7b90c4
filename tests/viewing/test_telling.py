# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lines that the page gives to copy."""

import ast
import shlex

import numpy as np
import pytest
import yaml

from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.pointing import Mode
from molmo_ros.viewing.telling import answer_html, code_html, python_code, service_call
from molmo_ros.viewing.views import Shown, View

FRAME = Frame(np.zeros((20, 30, 3), np.uint8), None, None, 0, '')
NASTY = ['the red mug', 'the "mug" with $HOME and {lid}: #1', "l'étui", '<img src=x onerror=y>']


def shown(query, mode=Mode.POINT, frame=''):
    return Shown(View(Capture(FRAME), frame=frame), query, mode, 'SUCCESS')


@pytest.mark.parametrize('query', NASTY)
def test_a_service_call_asks_the_same(query):
    words = shlex.split(service_call(shown(query, Mode.COUNT, "bob's_base"), '/left/point_query'))
    assert words[:5] == [
        *('ros2', 'service', 'call', '/left/point_query', 'molmo_ros/srv/PointQuery')
    ]
    assert yaml.safe_load(words[5]) == {
        'query': query,
        'mode': Mode.COUNT.value,
        'target_frame': "bob's_base",
    }
    assert len(words) == 6


@pytest.mark.parametrize('query', NASTY)
def test_python_asks_the_same(query):
    tree = ast.parse(python_code(shown(query, Mode.ASK, 'base'), '/left'))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (asked,) = (c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == 'ask')
    assert ast.literal_eval(asked.args[0]) == query
    given = {k.arg: ast.unparse(k.value) for k in asked.keywords}
    assert given == {'mode': 'Mode.ASK', 'target_frame': "'base'"}
    assert ast.unparse(calls[0]) == "PointQueryClient('/left')"


@pytest.mark.parametrize('query', NASTY[1:])
def test_nothing_from_outside_becomes_html(query):
    for html in (answer_html(shown(query)), code_html([('shell', query)])):
        assert '<img' not in html and '"mug"' not in html
