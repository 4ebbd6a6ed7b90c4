# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes in a process of their own, with an engine that does what the query says.

    scripted_node.py [load options] [--ros-args ...]     one node, run as the real one is
    scripted_node.py --several JSON                      many: [[load options, ROS arguments], ...]

at U V [at U V ...]   points there          slow S    passes for S seconds, and can be stopped
times N at U V        points there N times           cut U V   points there, and is cut off
absent                points at nothing     stuck S   one pass of S seconds, which cannot
says WORDS            answers in words      pass FILE one pass, until the file is there
garbles               answers in no words   fail      fails
                                            forbidden refuses
"""

import json
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions

from molmo_ros.engine import Answer, InvalidQuestion, Stopped
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.ros.point_query_node import PointQueryNode, make_executor
from molmo_ros.ros.spinning import Spinner, run_node
from molmo_ros.starting import end


def wait_for(path):
    while not path.exists():
        time.sleep(0.05)


class ScriptedEngine:
    def answer(self, image, question, should_stop=lambda: False):
        verb, *words = question.query.split()
        if verb == 'times':
            verb, words = words[1], words[1:] * int(words[0])
        points = ()
        if verb in ('at', 'cut'):
            numbers = [float(word) for word in words if word != 'at']
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            points = tuple(ImagePoint(u, v, f'thing at {u:g}', 0.5, spread=6.25) for u, v in pairs)
            points = points[: question.max_points or None]
        elif verb == 'slow':
            self._pass_until(time.monotonic() + float(words[0]), should_stop)
        elif verb == 'stuck':
            time.sleep(float(words[0]))
        elif verb == 'pass':
            wait_for(Path(words[0]))
        elif verb == 'fail':
            raise RuntimeError('out of memory, say')
        elif verb == 'forbidden':
            raise InvalidQuestion('this is no question')
        text = ' '.join(words) if verb == 'says' else 'said so'
        if verb == 'garbles':
            text = 'half a \ud83d'
        answer = Answer(text, points, None, not points, 1, {'vision': 0.001, 'decode': 0.002})
        answer = replace(answer, truncated=verb == 'cut')
        belief = {'at': 0.75, 'absent': 0.125}.get(verb)
        return answer if belief is None else replace(answer, presence=belief)

    def _pass_until(self, end, should_stop):
        while time.monotonic() < end:
            if should_stop():
                raise Stopped('stopped')
            time.sleep(0.01)

    def close(self):
        pass


def loader(options):
    """--after FILE: loads until the file is there. --broken: cannot."""

    def load(on_progress):
        on_progress('reading the weights', 0.4)
        if '--after' in options:
            wait_for(Path(options[options.index('--after') + 1]))
        if '--broken' in options:
            raise FileNotFoundError('no such checkpoint: set the parameter checkpoint')
        return ScriptedEngine()

    return load


def run_several(nodes_arguments):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    nodes = [
        PointQueryNode(loader(options), cli_args=['--ros-args', *arguments])
        for options, arguments in nodes_arguments
    ]
    spinners = []
    for node in nodes:
        executor = make_executor(node)
        executor.add_node(node)
        spinners.append(Spinner(executor))
    signal.sigwait([signal.SIGINT])
    for node, spinner in zip(nodes, spinners, strict=True):
        node.close()
        spinner.close()
        node.destroy_node()
    rclpy.shutdown()


if __name__ == '__main__':
    if sys.argv[1:2] == ['--several']:
        run_several(json.loads(sys.argv[2]))
    else:
        make_node = partial(PointQueryNode, loader(sys.argv))
        end(run_node(make_node, make_executor, PointQueryNode.close, sys.argv))
