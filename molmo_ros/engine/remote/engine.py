# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model behind a server, as an engine."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine.answers import (
    Answer,
    Engine,
    EngineError,
    Finding,
    Question,
    QueuedQuestion,
    Stopped,
)
from molmo_ros.engine.frame_cache import frame_key
from molmo_ros.engine.remote.address import Address, read_address
from molmo_ros.engine.remote.manner import Manner, manner_of
from molmo_ros.engine.remote.reply import Reply
from molmo_ros.engine.remote.server import CacheMiss, Server, Unreachable
from molmo_ros.engine.requests import as_engine_error, check_image, turn
from molmo_ros.engine.self_test import SelfTest

POLL_S = 0.02  # how soon it is noticed that nobody waits any more
_MOST_SENT = 64  # frames that a server is taken to have still
_CLOSED = 'the engine is closed'
_PNG_LEVEL = 1  # on a network of today more takes longer than it saves

_Done = TypeVar('_Done')


class RemoteEngine(Engine):
    """Asks a server; several images at a time. Made by `open_server`.

    Where the server went away, what answers later is tested again before it is asked.
    """

    at_once = 8

    def __init__(self, address: Address) -> None:
        self._server = Server(address)
        self.warnings = address.warnings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name='server', daemon=True)
        self._thread.start()
        self._closed = False
        self._closing = threading.Lock()
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._coming: dict[str, asyncio.Event] = {}
        self._manner = Manner.MOLMO
        self._self_test: SelfTest | None = None
        self._losses = 0  # times that the server went away
        self._tested: int | None = 0  # how many of these there were when it last passed the test
        self._testing = threading.Lock()
        self._tester: int | None = None  # the thread that tests

    def connect(self, style: str) -> None:
        """Find the model, and how it writes. Raises EngineError."""
        self._run(self._server.connect())
        self._manner = manner_of(self._server.model, style)

    def trust_if(self, self_test: SelfTest) -> None:
        """Test it now, and whenever it went away, before it is asked. Raises EngineError."""
        self._self_test = self_test
        self._test()

    def answer_each(self, image: NDArray[np.uint8], questions: Sequence[QueuedQuestion]) -> None:
        """See `Engine.answer_each`; all of them are asked at the same time."""
        untold = list(questions)
        try:
            check_image(image)
            self._test_again(lambda: all(one.should_stop() for one in questions))
            begun = time.monotonic()
            frame = _Frame(image)
            if frame.uuid not in self._sent:
                frame.encode()
            self._run(self._answer_all(frame, untold, time.monotonic() - begun))
        except Exception as error:
            for one in untold:
                one.tell(as_engine_error(error))

    def prompt_ids(self, image: NDArray[np.uint8], prompt: str) -> list[int]:
        """What the server's model reads, image and template included; [] if it does not tell.

        prompt: as `Manner.prompt` words a question. Raises EngineError.
        """
        return self._run(self._server.prompt_ids(prompt, self._whole(_Frame(image))))

    def own_findings(self) -> tuple[Finding, ...]:
        """Whether the server's template words a question as the model was taught."""
        prompt = self._manner.prompt(Question('red circle'))
        expected = self._manner.written(prompt)
        if not expected:
            return ()
        ids = self.prompt_ids(np.full((64, 64, 3), 128, np.uint8), prompt)
        text = self._run(self._server.text_of(ids)) if ids else None
        if text is None:
            return (Finding('prompt', None, 'the server does not tell what its model reads'),)
        if text.endswith(expected):
            return (Finding('prompt', True, f'{len(ids)} tokens, worded as it was taught'),)
        shown = text[-len(expected) - 20 :]
        return (
            Finding(
                'prompt',
                False,
                f'the server words the question as {shown!r} and not as {expected!r}: mend its '
                'chat template (docs/serving.md)',
            ),
        )

    def close(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(2.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2.0)

    async def _end(self) -> None:
        """Cancel all, and wait until those who wait for it are told."""
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.close()

    def _run(self, work: Coroutine[Any, Any, _Done]) -> _Done:
        """In the loop, while this thread waits."""
        with self._closing:  # what comes after the end of the loop would be waited for in vain
            if self._closed:
                work.close()
                raise EngineError(_CLOSED)
            done = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return done.result()
        except concurrent.futures.CancelledError as error:
            raise EngineError(_CLOSED) from error

    def _test_again(self, should_stop: Callable[[], bool]) -> None:
        """Where the server went away since: it may be another now, with another model.

        Whoever comes meanwhile waits, but for the test itself, which asks as everybody does.
        """
        if self._tested == self._losses or self._tester == threading.get_ident():
            return
        with turn(self._testing, should_stop):
            if self._tested != self._losses:
                self._run(self._server.connect())
                self._test()

    def _test(self) -> None:
        losses, self._tested = self._losses, None
        if self._self_test is not None:
            self._tester = threading.get_ident()
            try:
                self._self_test(self)
            finally:
                self._tester = None
        self._tested = losses

    async def _answer_all(
        self, frame: _Frame, untold: list[QueuedQuestion], preprocess: float
    ) -> None:
        """Tell all of them, who leave as they are told."""
        await asyncio.gather(*(self._answer(frame, one, untold, preprocess) for one in untold))

    async def _answer(
        self, frame: _Frame, one: QueuedQuestion, untold: list[QueuedQuestion], preprocess: float
    ) -> None:
        outcome: Answer | Exception
        try:
            reply = await _unless(one.should_stop, self._ask(frame, one.question))
            outcome = reply.answer(frame.width, frame.height, preprocess)
        except asyncio.CancelledError:
            outcome = EngineError(_CLOSED)
        except Exception as error:
            if isinstance(error, Unreachable):
                self._losses += 1
            outcome = as_engine_error(error)
        untold.remove(one)
        one.tell(outcome)

    async def _ask(self, frame: _Frame, question: Question) -> Reply:
        """Where others ask about the same new frame, after the first of them has a token: by then
        the server has computed what they share."""
        before = self._coming.get(frame.uuid)
        if before is not None:
            await before.wait()
        if frame.uuid in self._sent:
            try:
                return await self._server.ask(question, self._manner, frame.named())
            except CacheMiss:
                self._sent.pop(frame.uuid, None)
        here = self._coming.setdefault(frame.uuid, asyncio.Event())

        def on_first() -> None:
            if self._server.is_vllm:
                self._sent[frame.uuid] = None
                while len(self._sent) > _MOST_SENT:
                    self._sent.popitem(last=False)
            here.set()

        try:
            return await self._server.ask(question, self._manner, self._whole(frame), on_first)
        finally:
            here.set()
            self._coming.pop(frame.uuid, None)

    def _whole(self, frame: _Frame) -> dict[str, Any]:
        """The picture itself, named where the server knows names."""
        return frame.whole() | ({'uuid': frame.uuid} if self._server.is_vllm else {})


class _Frame:
    """A picture on its way: named by what is in it, and at full size, for a JPEG is another."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self._image = image
        self._url = ''
        self.height, self.width = image.shape[:2]
        shape, digest = frame_key(image)
        self.uuid = f'{"x".join(map(str, shape))}-{digest.hex()}'

    def encode(self) -> str:
        """As the address that carries it."""
        if not self._url:
            bgr = np.ascontiguousarray(self._image[..., ::-1])
            good, png = cv2.imencode('.png', bgr, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
            if not good:
                raise EngineError('the image could not be written as PNG')
            self._url = f'data:image/png;base64,{base64.b64encode(png.tobytes()).decode()}'
        return self._url

    def whole(self) -> dict[str, Any]:
        """Of the message: the picture."""
        return {'type': 'image_url', 'image_url': {'url': self.encode()}}

    def named(self) -> dict[str, Any]:
        """Of the message: the name of a picture that was sent before."""
        return {'type': 'image_url', 'image_url': None, 'uuid': self.uuid}


async def _unless(should_stop: Callable[[], bool], work: Coroutine[Any, Any, _Done]) -> _Done:
    """Do it, unless nobody wants it any more: then it is cancelled, and its connection closed."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=POLL_S))[0]:
            if should_stop():
                raise Stopped('stopped before the answer was complete')
        return task.result()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


def open_server(
    checkpoint: str,
    style: str,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> RemoteEngine:
    """An engine for a server's address. style: a `Manner`'s name, or 'auto'. Raises EngineError."""
    address = read_address(checkpoint)
    on_progress(f'connecting to {address.base}', 0.0)
    engine = RemoteEngine(address)
    try:
        engine.connect(style)
    except BaseException:
        engine.close()
        raise
    return engine
