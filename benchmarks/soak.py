# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A node left running: a camera at 30 Hz, several who ask, and what goes wrong on robots.

    python -m benchmarks.soak --minutes 60 --out soak

The node with the demo checkpoint, the rendered camera and each of the askers are processes of
their own. Askers put questions through the service and the action, bring frames of their own, set
short deadlines, cancel, send nonsense, and let questions stand for some seconds; some are killed
while they wait, and replaced. The camera is killed and started again now and then. Prints, and
writes as Markdown and JSON: questions by status, questions that got no answer, latency, and the
node's memory, threads and descriptors over time. The exit status is 1 if a living asker's question
got no answer, or not exactly one, or the node ended.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from molmo_ros.ros.client import PointQueryClient, ServiceUnavailable
from molmo_ros.ros.domain import free_domain

_EVERY_S = 10.0
_CAMERA = ('-p', 'rate:=30.0', '-p', 'seed:=7', '-r', '__ns:=/soak')
_NODE = ('-r', '__ns:=/soak', '-p', 'frame_wait:=0.5')
_QUERIES = (
    'the red mug', 'the banana', 'the blue bowl', 'the handle of the mug', 'the lowest thing',
    'a unicorn', 'every can', 'the thing left of the mug', 'the green plate', 'Ω ∑ 測試',
)  # fmt: skip
# What an asker does, and how often.
_DEEDS = {
    'ask': 10, 'count': 2, 'act': 4, 'cancel': 2, 'hurry': 3, 'own': 2, 'empty': 1, 'nowhere': 2,
    'watch': 2,
}  # fmt: skip
# A standing question says something once a second at least, be it why there is nothing to say.
_WATCHED_S = (4.0, 10.0)
_WATCH_CALLS_S = 12.0  # to set one and to take it back, at most


def main() -> int:
    """Run, report; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else '')
    parser.add_argument('--minutes', type=float, default=60.0)
    parser.add_argument('--askers', type=int, default=4)
    parser.add_argument('--kill-every', type=float, default=60.0, help='seconds; an asker')
    parser.add_argument('--camera-every', type=float, default=300.0, help='seconds; the camera')
    parser.add_argument('--out', type=Path, default=Path('soak'))
    parser.add_argument('--asker', type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.asker is not None:
        return _ask_on(arguments.asker)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_DOMAIN_ID'] = str(free_domain())
    arguments.out.mkdir(parents=True, exist_ok=True)
    return Soak(arguments).run()


class Soak:
    """The processes, what they told, and how the node fared."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._wanted = arguments
        self._log = (arguments.out / 'node.log').open('wb')
        self._told: list[dict[str, Any]] = []
        self._samples: list[dict[str, float]] = []
        self._unanswered: list[str] = []
        self._killed = 0
        self._next = 0

    def run(self) -> int:
        """Until the time is over; the exit status."""
        node = self._start('molmo_ros.ros.point_query_node', *_NODE, log=self._log)
        camera = self._start('molmo_ros.tabletop.camera_node', *_CAMERA)
        with PointQueryClient('soak', 'soak_watcher') as client:
            if not client.wait_until_ready(300):
                print(f'the node did not come up: {client.engine_state}', file=sys.stderr)
                return 1
        askers = [self._asker() for _ in range(self._wanted.askers)]
        began = time.monotonic()
        killed = shot = sampled = began
        try:
            while time.monotonic() - began < self._wanted.minutes * 60 and node.poll() is None:
                time.sleep(1.0)
                now = time.monotonic()
                if now - sampled >= _EVERY_S or not self._samples:
                    sampled = now
                    self._samples.append({'second': now - began, **_figures(node.pid)})
                if now - killed >= self._wanted.kill_every:
                    killed = now
                    self._end(askers.pop(0), signal.SIGKILL)
                    self._killed += 1
                    askers.append(self._asker())
                if now - shot >= self._wanted.camera_every:
                    shot = now
                    camera.kill()
                    camera.wait()
                    time.sleep(3.0)
                    camera = self._start('molmo_ros.tabletop.camera_node', *_CAMERA)
            lived = node.poll() is None
            for asker in askers:
                self._end(asker, signal.SIGINT)
            self._samples.append({'second': time.monotonic() - began, **_figures(node.pid)})
        finally:
            camera.kill()
            ended = _time_to_end(node)
            for asker in askers:
                asker[0].kill()
        return self._report(lived, ended)

    def _start(self, module: str, *words: str, log: Any = subprocess.DEVNULL) -> Any:
        command = [sys.executable, '-m', module, '--ros-args', *words]
        return subprocess.Popen(command, stdout=log, stderr=log)

    def _asker(self) -> tuple[Any, threading.Thread]:
        self._next += 1
        process = subprocess.Popen(
            [sys.executable, '-m', 'benchmarks.soak', '--asker', str(self._next)],
            stdout=subprocess.PIPE,
            stderr=(self._wanted.out / f'asker{self._next % 10}.log').open('wb'),
            text=True,
        )
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        return process, reader

    def _read(self, process: Any) -> None:
        for line in process.stdout:
            self._told.append(json.loads(line))

    def _end(self, asker: tuple[Any, threading.Thread], how: signal.Signals) -> None:
        process, reader = asker
        process.send_signal(how)
        try:
            process.wait(timeout=150)
        except subprocess.TimeoutExpired:
            self._unanswered.append(f'asker {process.pid} did not come to its end')
            process.kill()
        reader.join(10)

    def _report(self, lived: bool, ended: float) -> int:
        told = [entry for entry in self._told if 'status' in entry]
        missed = [*self._unanswered, *(e['missed'] for e in self._told if 'missed' in e)]
        report = {
            'minutes': round(self._samples[-1]['second'] / 60, 1),
            'answered': len(told),
            'unanswered': missed,
            'askers_killed': self._killed,
            'node_lived': lived,
            'seconds_to_end': round(ended, 2),
            'by_deed_and_status': _counted(told),
            'images_followed': sum(entry.get('images', 0) for entry in told),
            'over_deadline': sum(entry['seconds'] > entry['deadline'] + 1.0 for entry in told),
            'latency_ok_s': _percentiles(
                [e['seconds'] for e in told if e['status'] == 'SUCCESS' and e['deed'] != 'watch']
            ),
            'first': self._samples[min(3, len(self._samples) - 1)],
            'last': self._samples[-1],
            'most_rss_mb': max(sample['rss_mb'] for sample in self._samples),
        }
        out = self._wanted.out
        (out / 'soak.json').write_text(json.dumps({**report, 'samples': self._samples}, indent=1))
        text = '\n'.join(_lines(report))
        (out / 'soak.md').write_text(text + '\n')
        print(text)
        return int(bool(missed) or not lived)


def _figures(pid: int) -> dict[str, float]:
    """Memory in MB, threads and open descriptors of a process; NaN where it is gone."""
    try:
        status = dict(
            line.split(':', 1) for line in Path(f'/proc/{pid}/status').read_text().splitlines()
        )
        return {
            'rss_mb': int(status['VmRSS'].split()[0]) / 1024,
            'threads': int(status['Threads']),
            'descriptors': len(os.listdir(f'/proc/{pid}/fd')),
        }
    except (OSError, KeyError):
        return dict.fromkeys(('rss_mb', 'threads', 'descriptors'), float('nan'))


def _time_to_end(node: Any) -> float:
    began = time.monotonic()
    node.send_signal(signal.SIGINT)
    try:
        node.wait(timeout=30)
    except subprocess.TimeoutExpired:
        node.kill()
    return time.monotonic() - began


def _counted(told: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    deeds = {entry['deed'] for entry in told}
    return {
        deed: dict(Counter(e['status'] for e in told if e['deed'] == deed))
        for deed in sorted(deeds)
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {f'p{p}': round(float(np.percentile(seconds, p)), 3) for p in (50, 95, 99)}


def _lines(report: dict[str, Any]) -> Iterator[str]:
    first, last = report['first'], report['last']
    yield f'# {report["minutes"]} minutes'
    yield ''
    yield f'* {report["answered"]} questions answered, {len(report["unanswered"])} not'
    yield f'* {report["askers_killed"]} askers killed while they asked'
    yield f'* the node lived: {report["node_lived"]}'
    yield f'* images in which standing questions told points: {report["images_followed"]}'
    yield f'* later than 1 s after its deadline: {report["over_deadline"]}'
    yield f'* latency of those with points, seconds: {report["latency_ok_s"]}'
    yield f'* ended {report["seconds_to_end"]} s after SIGINT'
    yield ''
    yield '| node | at the start | at the end |'
    yield '|---|---|---|'
    for figure in ('rss_mb', 'threads', 'descriptors'):
        yield f'| {figure} | {first[figure]:.0f} | {last[figure]:.0f} |'
    yield f'| most rss_mb | | {report["most_rss_mb"]:.0f} |'
    yield ''
    yield '| asked | statuses |'
    yield '|---|---|'
    for deed, counts in report['by_deed_and_status'].items():
        yield f'| {deed} | {", ".join(f"{status} {n}" for status, n in counts.items())} |'


def _ask_on(seed: int) -> int:
    """Ask until told to stop; a line of JSON for each answer."""
    from molmo_ros.grounding.frame import Frame
    from molmo_ros.pointing.prompts import Mode
    from molmo_ros.ros.client_watch import WatchRefused

    told_to_stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: told_to_stop.set())
    rng = random.Random(seed)
    pixels = np.random.default_rng(seed).integers(0, 255, (240, 320, 3), np.uint8)
    own = Frame(pixels, None, None, 5, 'own_optical')
    asked = 0
    with PointQueryClient('soak', f'asker_{seed}') as client:
        while not told_to_stop.is_set():
            asked += 1
            deed = rng.choices([*_DEEDS], [*_DEEDS.values()])[0]
            query = '' if deed == 'empty' else rng.choice(_QUERIES)
            deadline = rng.uniform(0.05, 0.5) if deed == 'hurry' else 20.0
            words: dict[str, Any] = {'timeout': deadline}
            if deed == 'count':
                words['mode'] = Mode.COUNT
            if deed == 'own':
                words['frame'] = own
            if deed == 'nowhere':
                words['target_frame'] = rng.choice(['no_such_frame', 'x' * 10_000, '/'])
            began = time.monotonic()
            if deed == 'watch':
                stands = rng.uniform(*_WATCHED_S)
                try:
                    entry = _watch(client, query, stands)
                except WatchRefused as refused:
                    entry = {'status': refused.status.name, 'deed': deed}
                except ServiceUnavailable as error:
                    entry = {'missed': f'watch: {error}'}
                _tell(entry, began, stands + _WATCH_CALLS_S)
                continue
            try:
                if deed in ('act', 'cancel'):
                    pending = client.start(query, **words)
                    if deed == 'cancel':
                        time.sleep(rng.uniform(0.0, 0.3))
                        pending.cancel()
                    answered = pending.result(deadline + 15)
                else:
                    answered = client.ask(query, **words)
            except (ServiceUnavailable, TimeoutError) as error:
                seen = 'no node offers' in str(error)  # a deadline too short to find it
                entry = {'status': 'NOT_FOUND', 'deed': deed} if seen else {}
                _tell(
                    {**entry, **({} if seen else {'missed': f'{deed}, its no. {asked}: {error}'})},
                    began,
                    deadline,
                )
                continue
            _tell({'status': answered.status.name, 'deed': deed}, began, deadline)
            time.sleep(rng.uniform(0.0, 0.4))
    return 0


def _watch(client: PointQueryClient, query: str, seconds: float) -> dict[str, Any]:
    """Let a question stand: its last status, and in how many images its points were told."""
    heard = threading.Event()
    images: list[int] = []

    def hear(followed: Any) -> None:
        heard.set()
        if followed.points:
            images.append(followed.stamp_ns)

    with client.watch(query, hear) as handle:
        time.sleep(seconds)
        newest = handle.newest
    if newest is None:
        return {'missed': f'watch: nothing told in {seconds:.1f} s'}
    if len(set(images)) < len(images):
        return {'missed': 'watch: an image was told twice'}
    return {'status': newest.status.name, 'deed': 'watch', 'images': len(images)}


def _tell(entry: dict[str, Any], began: float, deadline: float) -> None:
    line = {**entry, 'seconds': round(time.monotonic() - began, 3), 'deadline': deadline}
    print(json.dumps(line), flush=True)


if __name__ == '__main__':
    sys.exit(main())
