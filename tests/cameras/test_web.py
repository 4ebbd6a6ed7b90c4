# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures from the web: what is named comes, what is endless or elsewhere does not."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from molmo_ros.cameras.web import fetch_picture, is_address
from molmo_ros.errors import UserError

DATA = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    end = threading.Event()

    def do_GET(self):
        if self.path.startswith('/to/'):
            self.send_response(302)
            self.send_header('Location', self.path.removeprefix('/to/'))
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(DATA)
        # Open, and nothing more comes.
        if self.path == '/stuck':
            self.wfile.flush()
            self.end.wait(60)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope='module')
def server():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    Handler.end.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize('path', ['/picture', '/to//picture'])
def test_what_is_named_comes_also_from_where_it_has_moved_to(path, server):
    assert fetch_picture(f'{server}{path}') == DATA


def test_nothing_is_taken_without_an_end(server):
    assert len(fetch_picture(f'{server}/picture', limit=len(DATA))) == len(DATA)
    with pytest.raises(UserError, match='larger than'):
        fetch_picture(f'{server}/picture', limit=len(DATA) - 1)
    with pytest.raises(UserError, match=r'did not come within 0\.5 s'):
        fetch_picture(f'{server}/stuck', timeout=0.5)


@pytest.mark.parametrize('path', ['/to/file:///etc/hostname', '/to/ftp://127.0.0.1/x'])
def test_an_address_leads_to_nothing_but_the_web(path, server):
    with pytest.raises(UserError, match='cannot be had'):
        fetch_picture(f'{server}{path}')


@pytest.mark.parametrize('address', ['http://127.0.0.1:1/x', 'http://', 'http://[x', 'https:// x'])
def test_what_is_not_there_is_told(address):
    with pytest.raises(UserError, match='cannot be had'):
        fetch_picture(address)


def test_only_the_web_is_an_address():
    assert is_address('HTTPS://a.b/c.png')
    assert not any(map(is_address, ['file:///etc/hostname', 'ftp://a/b', 'http.png', 'the mug']))
