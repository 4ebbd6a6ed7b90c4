# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who may open the page, and the server behind that.

viser asks nobody who they are, lets pages of other sites connect, and offers to carry the page to a
server of its authors. So its HTTP server is given a guard (the hook of the websockets package that
viser itself uses) that all requests pass, and a socket that is bound before.
"""

from __future__ import annotations

import hmac
import io
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

from molmo_ros.errors import UserError

USUAL_PORT = 8080
_FAREWELL_S = 1.0
_EVERY_ADDRESS = ('', '0.0.0.0', '::')


def is_this_machine(host: str) -> bool:
    """Whether a name or an address is that of the machine itself, which no other can reach."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


@dataclass(frozen=True)
class Door:
    """host, port: where the page is. token: who comes has to know it; '': nobody has to."""

    host: str
    port: int
    token: str = ''

    @property
    def address(self) -> str:
        """The address to open, the token in it."""
        name = socket.gethostname() if self.host in _EVERY_ADDRESS else self.host
        host = f'[{name}]' if ':' in name else name
        asked = f'?token={self.token}' if self.token else ''
        return f'http://{host}:{self.port}/{asked}'

    @property
    def cookie(self) -> str:
        """The name that a browser keeps the token under; cookies know no ports."""
        return f'molmo_ros_{self.port}'


@dataclass(frozen=True)
class Verdict:
    """status: None lets in. text: what is said instead. cookie: to be kept from now on."""

    status: HTTPStatus | None
    text: str = ''
    cookie: str = ''


ENTER = Verdict(None)


def judge(door: Door, path: str, headers: Any) -> Verdict:
    """Whether a request may enter. headers: have `get_all(name)`, names in any case.

    Requests of another site's page are refused by their Origin, and names that somebody has made
    lead here by their Host.
    """
    hosts = headers.get_all('Host')
    if len(hosts) != 1:
        return Verdict(HTTPStatus.BAD_REQUEST, 'the request names no host, or several')
    if not door.token and not is_this_machine(_name_of(hosts[0])):
        return Verdict(HTTPStatus.FORBIDDEN, f'this page is at {door.address}')
    origins = headers.get_all('Origin')
    if any(urlsplit(origin).netloc != hosts[0] for origin in origins):
        return Verdict(HTTPStatus.FORBIDDEN, 'a page of another site may not connect')
    if not door.token or _is(door.token, _kept(door, headers)):
        return ENTER
    given = parse_qs(urlsplit(path).query).get('token', [''])[0]
    if not _is(door.token, given):
        return Verdict(
            HTTPStatus.FORBIDDEN,
            'open the address that molmo-ros view printed: it has ?token=... at its end',
        )
    cookie = f'{door.cookie}={door.token}; HttpOnly; SameSite=Lax; Path=/'
    return Verdict(HTTPStatus.SEE_OTHER, 'come in', cookie)


def _is(token: str, given: str) -> bool:
    return hmac.compare_digest(token.encode(), given.encode())


def _kept(door: Door, headers: Any) -> str:
    """The token that a browser has kept; '' for none."""
    for text in headers.get_all('Cookie'):
        try:
            found = SimpleCookie(text).get(door.cookie)
        except CookieError:
            continue
        if found is not None:
            return found.value
    return ''


def _name_of(host: str) -> str:
    """Without the port."""
    return urlsplit(f'//{host}').hostname or ''


@contextmanager
def opened(
    host: str, port: int | None, always_token: bool, label: str
) -> Iterator[tuple[Any, Door]]:
    """A server of viser's, and the door before it; gone at the end.

    port: None takes the usual one, or any where that is taken. always_token: also where only this
    machine can come. Raises UserError where nothing can listen there.
    """
    listening = _bound(host, port)
    token = secrets.token_urlsafe(18) if always_token or not is_this_machine(host) else ''
    door = Door(host, listening.getsockname()[1], token)
    server = _server(door, listening, label)
    try:
        yield server, door
    finally:
        _stop(server)
        listening.close()


def _stop(server: Any) -> None:
    """Stop it, and wait no longer than a moment: a browser that is gone says no farewell."""
    stopping = threading.Thread(target=server.stop, daemon=True)
    with redirect_stdout(io.StringIO()):  # it prints that it has stopped
        stopping.start()
        stopping.join(_FAREWELL_S)


def _bound(host: str, port: int | None) -> socket.socket:
    try:
        return _listening(host, USUAL_PORT if port is None else port)
    except OSError as error:
        if port is None:
            try:
                return _listening(host, 0)
            except OSError:
                pass
        reason = error.strerror or str(error)
        raise UserError(
            f'nothing can listen on {host}:{port or USUAL_PORT}: {reason}; give another --host or '
            '--port (0 is any free one)'
        ) from error


def _listening(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server((address[0], port), family=family)


def _server(door: Door, listening: socket.socket, label: str) -> Any:
    from viser import ViserServer

    class Server(ViserServer):
        def request_share_url(self, verbose: bool = True) -> None:
            """Any browser could ask for it: the page stays here."""

    with _guarded(door, listening) as passed, redirect_stdout(io.StringIO()):
        server = Server(host=door.host, port=door.port, label=label, verbose=False)
    if not passed:
        server.stop()
        raise UserError('this version of viser cannot be guarded: install viser 1.1.1')
    return server


@contextmanager
def _guarded(door: Door, listening: socket.socket) -> Iterator[list[bool]]:
    """What is served meanwhile is served on that socket, to those whom the door lets in.

    Yields a list that has something in it once this was so.
    """
    import websockets.asyncio.server as library

    serve = library.serve
    passed: list[bool] = []

    def serve_guarded(handler: Any, host: str, port: int, **rest: Any) -> Any:
        passed.append(True)
        rest['process_request'] = _guard(door, rest.get('process_request'))
        return serve(handler, sock=listening, **rest)

    setattr(library, 'serve', serve_guarded)  # noqa: B010 (mypy: a class is not assigned to)
    try:
        yield passed
    finally:
        setattr(library, 'serve', serve)  # noqa: B010


def _guard(door: Door, otherwise: Callable[[Any, Any], Any] | None) -> Callable[[Any, Any], Any]:
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    def guard(connection: Any, request: Any) -> Any:
        verdict = judge(door, request.path, request.headers)
        if verdict.status is None:
            return otherwise(connection, request) if otherwise is not None else None
        body = f'{verdict.text}\n'.encode()
        headers = Headers(
            {'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': str(len(body))}
        )
        if verdict.cookie:
            headers['Set-Cookie'], headers['Location'] = verdict.cookie, '/'
        return Response(verdict.status.value, verdict.status.phrase, headers, body)

    return guard
