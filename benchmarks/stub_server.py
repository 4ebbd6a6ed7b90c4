# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A server that speaks what vLLM speaks of OpenAI's protocol, and sees nothing but red discs.

Stands in for a model on a GPU where what counts is how one talks to it. What it does wrong is
chosen by the attributes of `Stub`.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import log
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.pointing import ABSENT, Style, format_points

_TOKEN = re.compile(r' ?<?[A-Za-z]+|.', re.DOTALL)
_LABEL = re.compile(r'Point to (.*)')

Percent = tuple[float, float]


@dataclass
class Stub:
    """How it behaves, and what it has seen.

    answer: what it says to a prompt, in place of looking; '' looks. moved: what becomes of each
    place in percent. token_s: seconds a token. drop_after: tokens, after which it closes the
    connection. statuses: what it says to the next requests, in place of an answer.
    """

    model: str = 'allenai/Molmo-7B-D-0924'
    owned_by: str = 'vllm'
    style: str = 'molmo'
    answer: Callable[[str], str] = lambda prompt: ''
    moved: Callable[[float, float], Percent] = lambda x, y: (x, y)
    logprobs: bool = True
    template: str = ' User: {prompt} Assistant:'
    first_s: float = 0.0
    token_s: float = 0.0
    drop_after: int | None = None
    statuses: list[int] = field(default_factory=list)
    key: str = ''
    url: str = ''
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    running: int = 0
    most_running: int = 0
    aborted: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, more: int) -> None:
        """Of the requests that are being answered."""
        with self.lock:
            self.running += more
            self.most_running = max(self.running, self.most_running)

    def picture(self, part: dict[str, Any]) -> NDArray[np.uint8] | None:
        """That a part of a message shows or names; None where it is not known."""
        uuid = part.get('uuid')
        if part['image_url'] is None:
            return self.pictures.get(str(uuid))
        data = base64.b64decode(part['image_url']['url'].partition(',')[2])
        read = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
        if uuid:
            self.pictures[uuid] = read
        return read

    def text(self, prompt: str, picture: NDArray[np.uint8]) -> str:
        """What it writes."""
        if said := self.answer(prompt):
            return said
        places = [self.moved(x, y) for x, y in discs(picture)]
        inside = [(x, y) for x, y in places if 0 <= x <= 100 and 0 <= y <= 100]
        found = _LABEL.search(prompt)
        label = found.group(1).strip() if found else 'thing'
        if self.style.startswith('json'):
            pairs = [(round(x * 10), round(y * 10)) for x, y in inside]
            key = 'point' if self.style == 'json_yx' else 'point_2d'
            ordered = [(y, x) if self.style == 'json_yx' else (x, y) for x, y in pairs]
            said = json.dumps([{key: list(pair), 'label': label} for pair in ordered])
            return f'```json\n{said}\n```'
        style = Style(self.style)
        return format_points(inside, label, style) if inside else style.lead + ABSENT


def discs(bgr: NDArray[np.uint8]) -> list[Percent]:
    """The middles of what is red, in percent, from the left."""
    blue, green, red = (bgr[..., channel].astype(int) for channel in range(3))
    mask = ((red > 150) & (green < 100) & (blue < 100)).astype(np.uint8)
    _, _, stats, centres = cv2.connectedComponentsWithStats(mask)
    height, width = mask.shape
    return sorted(
        ((u + 0.5) / width * 100, (v + 0.5) / height * 100)
        for (u, v), stat in zip(centres[1:], stats[1:], strict=True)
        if stat[cv2.CC_STAT_AREA] > 30
    )


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    """Serve on a free port of this machine; `stub.url` is the address then."""

    class Handler(_Handler):
        of = stub

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    stub.url = f'http://127.0.0.1:{server.server_address[1]}/v1'
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    of: Stub

    def log_message(self, format: str, *args: Any) -> None:
        """Not to stderr."""

    def do_GET(self) -> None:
        """The list of models."""
        if self._refused():
            return
        listed = [{'id': self.of.model, 'object': 'model', 'owned_by': self.of.owned_by}]
        self._tell(200, {'object': 'list', 'data': listed})

    def do_POST(self) -> None:
        """An answer, or what its tokenizer makes of ids."""
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        if self._refused():
            return
        if self.path == '/detokenize':
            self._tell(200, {'prompt': ''.join(map(chr, body['tokens']))})
            return
        self.of.requests.append(body)
        self.of.headers.append(dict(self.headers))
        self.of.count(1)
        try:
            self._answer(body)
        except (BrokenPipeError, ConnectionResetError):
            self.of.aborted += 1
        finally:
            self.of.count(-1)

    def _refused(self) -> bool:
        of = self.of
        if of.key and self.headers.get('Authorization') != f'Bearer {of.key}':
            self._tell(401, {'error': {'message': 'no such key'}})
        elif of.statuses:
            self._tell(of.statuses.pop(0), {'error': {'message': 'not now'}})
        else:
            return False
        return True

    def _tell(self, status: int, said: object) -> None:
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, body: dict[str, Any]) -> None:
        of = self.of
        image, words = body['messages'][0]['content']
        picture = of.picture(image)
        if picture is None:
            said = {'message': f'Cache miss for image {image["uuid"]}', 'code': 400}
            self._tell(400, {'error': said})
            return
        prompt = of.template.replace('{prompt}', words['text'])
        if not body.get('stream'):
            choice = {'index': 0, 'message': {'role': 'assistant', 'content': ''}}
            self._tell(200, {'choices': [choice], 'prompt_token_ids': _ids(prompt)})
            return
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream')
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        time.sleep(of.first_s)
        tokens = _TOKEN.findall(_stopped(of.text(words['text'], picture), body.get('stop') or []))
        wanted = body.get('stream_options') or {}
        each = bool(wanted.get('continuous_usage_stats'))
        first = {'index': 0, 'delta': {'role': 'assistant', 'content': ''}, 'logprobs': None}
        if body.get('return_token_ids'):
            self._event({'choices': [first], 'prompt_token_ids': _ids(prompt), **_usage(each, 0)})
        for index, token in enumerate(tokens[: body['max_tokens']]):
            if index == of.drop_after:
                self.close_connection = True
                return
            time.sleep(of.token_s)
            choice = {'index': 0, 'delta': {'content': token}, 'finish_reason': None}
            if of.logprobs and body.get('logprobs'):
                choice['logprobs'] = {'content': [_logprob(token)]}
            if body.get('return_token_ids'):
                choice['token_ids'] = [len(token)]
            self._event({'choices': [choice], **_usage(each, index + 1)})
        end = 'length' if len(tokens) > body['max_tokens'] else 'stop'
        self._event({'choices': [{'index': 0, 'delta': {}, 'finish_reason': end}]})
        if wanted.get('include_usage'):
            told = _usage(True, len(tokens))
            told['usage']['prompt_tokens_details'] = {'cached_tokens': 640}
            self._event({'choices': [], **told})
        self._chunk(b'data: [DONE]\n\n')
        self._chunk(b'')

    def _event(self, said: dict[str, Any]) -> None:
        self._chunk(f'data: {json.dumps({"id": "1", "object": "chunk", **said})}\n\n'.encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f'{len(data):x}\r\n'.encode() + data + b'\r\n')
        self.wfile.flush()


def _ids(prompt: str) -> list[int]:
    """What it reads: a token a character."""
    return [ord(character) for character in f'<im_patch><im_col>{prompt}']


def _usage(told: bool, written: int) -> dict[str, Any]:
    """Of a part of the stream, where it is told with each."""
    usage = {'prompt_tokens': 752, 'completion_tokens': written, 'total_tokens': 752 + written}
    return {'usage': usage} if told else {}


def _stopped(text: str, stops: list[str]) -> str:
    """Up to the first stop, itself included."""
    ends = [text.index(stop) + len(stop) for stop in stops if stop in text]
    return text[: min(ends)] if ends else text


def _logprob(token: str) -> dict[str, Any]:
    """A digit is believed in with 0.9, and the next one with the rest."""
    believed = 0.9 if token.isdigit() else 0.98
    other = str((int(token) + 1) % 10) if token.isdigit() else ' There'
    told = [{'token': token, 'logprob': log(believed)}]
    if other != token:
        told.append({'token': other, 'logprob': log(1 - believed)})
    return {**told[0], 'top_logprobs': told}
