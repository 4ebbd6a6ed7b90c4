# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a language-model agent can do with a robot's cameras: look and ask, and no more."""

import base64
import json
import os
import sys

import anyio
import cv2
import numpy as np
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from molmo_ros.cli import main


@pytest.fixture
def agent(asking):
    """Calls tools of a server that knows two cameras; only the node of 'eye' is there."""

    def call(*calls):
        async def run():
            server = StdioServerParameters(
                command=sys.executable,
                args=['-m', 'molmo_ros.cli', 'mcp', '--camera', 'eye=/', '--camera', 'hand=/hand'],
                env=dict(os.environ),
            )
            async with Client(stdio_client(server)) as client:
                tools = (await client.list_tools()).tools
                return tools, [await client.call_tool(name, words) for name, words in calls]

        return anyio.run(run)

    return call


def test_an_agent_lists_cameras_asks_and_sees(agent, frame):
    tools, (listed, asked, seen) = agent(
        ('list_cameras', {}),
        ('ask', {'query': 'at 80 60', 'camera': 'eye', 'target_frame': 'base'}),
        ('get_picture', {'camera': 'eye'}),
    )
    assert {tool.name for tool in tools} == {'list_cameras', 'ask', 'get_picture'}
    assert all(tool.annotations.read_only_hint for tool in tools)
    cameras = {camera['camera']: camera for camera in json.loads(listed.content[0].text)}
    assert cameras['eye']['ready'] and not cameras['hand']['ready']
    answer = json.loads(asked.content[0].text)
    assert answer['status'] == 'SUCCESS' and answer['frame'] == 'base'
    (point,) = answer['points']
    assert point['status_3d'] == 'OK' and (point['u'], point['v']) == (80, 60)
    # The camera stands 3 m up and looks down at a wall 1.25 m away.
    assert point['position'][2] == pytest.approx(1.75, abs=0.005)
    jpeg = np.frombuffer(base64.b64decode(seen.content[0].data), np.uint8)
    seen_grey = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)
    grey = cv2.cvtColor(frame.color, cv2.COLOR_RGB2GRAY)
    assert np.corrcoef(seen_grey.ravel(), grey.ravel())[0, 1] > 0.95


def test_an_agent_is_told_in_a_sentence_what_it_may_not_have(agent):
    _, refused = agent(
        ('ask', {'query': 'at 80 60', 'camera': '/secret'}),
        ('ask', {'query': 'at 80 60 ' * 1000, 'camera': 'eye'}),
        ('ask', {'query': 'at 80 60', 'camera': 'eye', 'mode': 'move'}),
        ('ask', {'query': 'at 80 60', 'camera': 'hand', 'timeout': 1.0}),
        ('get_picture', {'camera': '../image'}),
    )
    words = ['no camera', '1 to 500 characters', "mode 'move'", 'no node offers', 'no camera']
    for result, expected in zip(refused, words, strict=True):
        assert result.is_error and expected in result.content[0].text
        assert 'Traceback' not in result.content[0].text


@pytest.mark.parametrize('camera', ['eye', '=/eye', 'my eye=/eye'])
def test_a_camera_that_cannot_be_read_is_refused(camera, capsys):
    assert main(['mcp', '--camera', camera]) == 2
    assert 'NAME=NAMESPACE' in capsys.readouterr().err
