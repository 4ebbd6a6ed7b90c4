# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros fetch`, from a hub that stands on this machine."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

COMMIT = '5' * 40
FILES = {'config.json': b'{"model_type": "molmo"}', 'model.safetensors': bytes(30_000)}


class Hub(BaseHTTPRequestHandler):
    """What the hub says of one repository, and of none other."""

    protocol_version = 'HTTP/1.1'
    tokens: set[str | None]
    sent: list[str]
    claimed: dict[str, int]

    def log_message(self, *words):
        pass

    def do_GET(self):
        self.tokens.add(self.headers.get('Authorization'))
        if self.path.startswith('/api/models/owner/tiny/'):
            files = {**FILES, 'modeling.py': b'print()'}
            told = [
                {
                    'type': 'file',
                    'path': name,
                    'rfilename': name,
                    'oid': 'a' * 40,
                    'size': self.claimed.get(name, len(data)),
                }
                for name, data in files.items()
            ]
            tree = '/tree/' in self.path
            self.tell(
                200,
                json.dumps(
                    told if tree else {'id': 'owner/tiny', 'sha': COMMIT, 'siblings': told}
                ).encode(),
            )
        elif self.path.startswith('/owner/tiny/resolve/'):
            name = self.path.rpartition('/')[2]
            if self.command == 'GET':
                self.sent.append(name)
            self.tell(200, FILES[name], size=self.claimed.get(name))
        else:
            self.tell(404, b'{}', **{'X-Error-Code': 'RepoNotFound'})

    do_HEAD = do_GET

    def tell(self, status, data, size=None, **headers):
        self.send_response(status)
        shown = size if size is not None and self.command == 'HEAD' else len(data)
        told = {'Content-Length': str(shown), 'ETag': f'"{len(data)}"', 'X-Repo-Commit': COMMIT}
        for name, value in (told | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == 'GET':
            self.wfile.write(data)


@pytest.fixture
def hub():
    class Mine(Hub):
        tokens, sent, claimed = set(), [], {}

    server = ThreadingHTTPServer(('127.0.0.1', 0), Mine)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Mine.url = f'http://127.0.0.1:{server.server_address[1]}'
    yield Mine
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(hub, tmp_path):
    def run(checkpoint, **others):
        code = 'import sys; from molmo_ros.cli import main; sys.exit(main(sys.argv[1:]))'
        given = {'HF_ENDPOINT': hub.url, 'HF_HOME': str(tmp_path / 'home'), 'HF_TOKEN': 'hf_mine'}
        return subprocess.run(
            [sys.executable, '-c', code, 'fetch', checkpoint],
            env={**os.environ, 'HF_HUB_DISABLE_XET': '1', **given, **others},
            capture_output=True,
            text=True,
        )

    return run


def test_its_size_is_told_before_and_its_folder_after(fetch, hub, tmp_path):
    result = fetch('owner/tiny')
    assert result.returncode == 0, result.stderr
    folder = tmp_path / 'home/hub/models--owner--tiny/snapshots' / COMMIT
    assert result.stdout.strip() == str(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert '0.00 GB to download' in result.stderr and 'GB are free' in result.stderr
    assert 'Bearer hf_mine' in hub.tokens
    assert 'modeling.py' not in hub.sent


def test_what_the_disk_has_no_room_for_is_not_begun(fetch, hub):
    hub.claimed['model.safetensors'] = 10**16
    result = fetch('owner/tiny')
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith('molmo-ros fetch')]
    assert '10000000.00 GB to download' in line and 'HF_HOME' in line
    assert hub.sent == []


def test_a_name_that_the_hub_does_not_know_and_a_hub_that_is_not_there(fetch, hub):
    result = fetch('owner/tinny')
    assert result.returncode == 2 and 'is the name right' in result.stderr.splitlines()[-1]
    result = fetch('owner/tiny', HF_ENDPOINT='http://127.0.0.1:9')
    assert result.returncode == 2 and 'HF_ENDPOINT' in result.stderr.splitlines()[-1]
    assert 'Traceback' not in result.stderr
