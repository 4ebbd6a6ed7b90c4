# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who may open the page: viser itself asks nobody."""

import socket
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus

from molmo_ros.cli import main
from molmo_ros.viewing.door import Door, is_this_machine


def get(address, path='/', **headers):
    """Status, text and headers; headers: dashes are underscores."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=30)
    given = {name.replace('_', '-'): value for name, value in headers.items()}
    connection.request('GET', path, headers=given)
    response = connection.getresponse()
    return response.status, response.read(), dict(response.getheaders())


def refused(browse, address, **arguments):
    with pytest.raises(InvalidStatus) as error:
        browse(address, **arguments)
    return error.value.response.status_code == 403


def test_only_this_machine_needs_no_token(open_page, browse):
    _, address = open_page()
    assert address.startswith('http://127.0.0.1:') and '?' not in address
    status, text, _ = get(address)
    assert status == 200 and b'<html' in text
    browse(address).labelled('Ask')


def test_pages_of_other_sites_may_not_connect(open_page, browse):
    _, address = open_page()
    assert refused(browse, address, origin='https://example.org')
    assert refused(browse, address, origin='null')
    # A name of one's own that is made to lead to 127.0.0.1.
    port = urlsplit(address).port
    status, text, _ = get(address, Host=f'example.org:{port}')
    assert status == 403 and address.encode() in text
    own = f'http://127.0.0.1:{port}'
    browse(address, origin=own).labelled('Ask')


@pytest.mark.parametrize('settings', [{'token': True}, {'host': '0.0.0.0'}])
def test_with_a_token_only_those_who_know_it_come_in(settings, open_page, browse):
    _, printed = open_page(**settings)
    address, query = printed.replace(urlsplit(printed).hostname, '127.0.0.1').split('?')
    assert query.startswith('token=') and len(query) > 20
    for path in ('/', '/?token=', '/?token=guessed', '/index.html'):
        status, text, headers = get(address, path)
        assert status == 403 and b'<html' not in text and b'token' in text
        assert 'Set-Cookie' not in headers
    assert refused(browse, address)
    status, _, headers = get(address, f'/?{query}')
    assert (status, headers['Location']) == (303, '/')
    cookie, *rules = headers['Set-Cookie'].split('; ')
    assert {'HttpOnly', 'SameSite=Lax'} <= set(rules)
    assert get(address, '/', Cookie=cookie)[0] == 200
    browse(address, additional_headers={'Cookie': cookie}).labelled('Ask')
    assert refused(browse, address, additional_headers={'Cookie': cookie}, origin='http://a.org')
    assert refused(browse, address, additional_headers={'Cookie': cookie[:-1]})


def test_no_browser_can_have_the_page_carried_elsewhere(open_page, browse, monkeypatch):
    """viser would ask a server of its authors for an address that anybody can open."""
    import requests

    called = []
    monkeypatch.setattr(requests, 'request', lambda *args, **kwargs: called.append(args))
    monkeypatch.setattr(requests, 'get', lambda *args, **kwargs: called.append(args))
    _, address = open_page()
    browser = browse(address)
    browser.labelled('Ask')
    browser.send('ShareUrlRequest')
    browser.ask('at 20 20')
    browser.sees('20.0, 20.0')
    assert not called


def test_which_addresses_are_this_machine():
    assert all(map(is_this_machine, ['127.0.0.1', '127.8.0.1', '::1', 'localhost']))
    assert not any(map(is_this_machine, ['0.0.0.0', '::', '', '192.168.1.5', 'robot', '10.0.0.1']))
    assert Door('::1', 8080).address == 'http://[::1]:8080/'


@pytest.mark.parametrize('where', [['--port', 'TAKEN'], ['--host', '203.0.113.7'], ['--host', '?']])
def test_where_nothing_can_listen_is_told_in_a_sentence(where, capsys):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(['view', 'table', *(port if w == 'TAKEN' else w for w in where)]) == 2
    said = capsys.readouterr().err.strip()
    assert 'nothing can listen on' in said and len(said.splitlines()) == 1


@pytest.mark.parametrize('camera', ['nothing.png', 'table:red', 'kamera:1'])
def test_a_camera_that_is_none_is_told_before_the_page_is_there(camera, capsys):
    assert main(['view', camera]) == 2
    assert camera in capsys.readouterr().err
