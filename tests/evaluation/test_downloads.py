# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Getting the pictures of a data set from a server that is not always willing."""

import hashlib
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from molmo_ros.cli import main
from molmo_ros.evaluation.downloads import Politeness, Refused, Wanted, download

PICTURE = cv2.imencode('.png', np.full((8, 9, 3), 70, np.uint8))[1].tobytes()


class Server(ThreadingHTTPServer):
    """/good, /busy (twice 503, then good), /gone, /other (not what its hash says), /page."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.asked, self.agents = Counter(), set()

    def url(self, name):
        return f'http://127.0.0.1:{self.server_address[1]}/{name}'


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip('/').split('?')[0]
        self.server.asked[name] += 1
        self.server.agents.add(self.headers['User-Agent'])
        if name == 'gone' or (name == 'busy' and self.server.asked[name] <= 2):
            self.send_response(404 if name == 'gone' else 503)
            self.send_header('Retry-After', '0')
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'<html>login</html>' if name == 'page' else PICTURE)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def hashed(url):
    return hashlib.sha256(url.encode()).hexdigest()


def test_pictures_come_where_eval_looks_for_them_and_none_is_asked_for_twice(
    server, tmp_path, capsys, monkeypatch
):
    true = hashlib.sha256(PICTURE).hexdigest()
    rows = [
        {'image_url': server.url('good'), 'image_sha256': true},
        {'image_url': server.url('busy?a=1'), 'image_sha256': true.upper()},
        {'image_url': server.url('gone')},
        {'image_url': server.url('other'), 'image_sha256': 64 * '0'},
        {'image_url': server.url('page')},
    ]
    lines = [json.dumps({**row, 'label': 'mug', 'points': []}) for row in rows]
    (tmp_path / 'test.jsonl').write_text('\n'.join([*lines, *lines]))
    asked = ['fetch', 'pictures', str(tmp_path), '--rate', '100', '--contact', 'me@example.org']
    monkeypatch.setattr('molmo_ros.commands.fetch_pictures.Politeness', quick)
    assert main(asked) == 0
    told = capsys.readouterr().out
    assert '2 got' in told and '1 gone' in told and '1 changed' in told and '1 not a pic' in told
    (agent,) = server.agents
    assert agent.startswith('molmo-ros/') and 'me@example.org' in agent
    names = {path.name for path in (tmp_path / 'images').iterdir()}
    assert names == {hashed(rows[0]['image_url']), hashed(rows[1]['image_url']), 'downloads.jsonl'}
    assert server.asked == {'good': 1, 'busy': 3, 'gone': 1, 'other': 1, 'page': 1}
    assert main(asked) == 0
    assert server.asked.total() == 7 and '3 not asked for' in capsys.readouterr().out
    assert main([*asked, '--again']) == 0
    assert server.asked.total() == 10
    assert main(['eval', 'pixmo-points', str(tmp_path), '--json']) == 2
    assert '6 of 10 questions lack their picture' in capsys.readouterr().err


def quick(*given):
    usual = Politeness()
    rate, jobs, retries = (*given, usual.rate, usual.jobs, usual.retries)[:3]
    return Politeness(rate, jobs, retries, back_off=0.01)


def test_one_host_is_asked_no_more_often_than_was_said(tmp_path):
    waits = []

    class NoWait(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return self.is_set()

    addresses = [*(f'http://one/{n}' for n in range(4)), 'http://two/a']
    wanted = [Wanted(url, tmp_path / hashed(url)) for url in addresses]
    outcomes = download(wanted, lambda url: PICTURE, Politeness(rate=0.001, jobs=3), stop=NoWait())
    assert outcomes == {'got': 5}
    assert [round(wait, -3) for wait in sorted(waits)] == [0, 0, 1000, 2000, 3000]


def test_what_a_server_cannot_give_now_is_left_for_another_time(tmp_path):
    tried, told = [], []

    def get(url):
        tried.append(url)
        raise Refused('busy', 429)

    one = Wanted('http://one/a', tmp_path / 'a')
    outcomes = download(
        [one],
        get,
        Politeness(rate=100, retries=2, back_off=0.001),
        lambda wanted, outcome, why: told.append((outcome, why)),
    )
    assert outcomes == {'not now': 1} and told == [('not now', 'busy')]
    assert len(tried) == 3 and not any(tmp_path.iterdir())


def test_it_can_be_ended_while_it_waits(tmp_path):
    stop = threading.Event()

    def get(url):
        stop.set()
        raise Refused('busy', 503, retry_after=100)

    one = Wanted('http://one/a', tmp_path / 'a')
    assert not download([one], get, Politeness(), stop=stop).total()
