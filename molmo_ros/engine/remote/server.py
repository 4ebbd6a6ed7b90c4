# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is said to a server, and what its errors mean. All of it runs in one event loop."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

from molmo_ros.engine.answers import EngineError, InvalidQuestion, Question
from molmo_ros.engine.remote.address import KEY, Address
from molmo_ros.engine.remote.manner import Manner
from molmo_ros.engine.remote.reply import Reply
from molmo_ros.errors import shortened
from molmo_ros.extras import require

CONNECT_S = 5.0
SILENCE_S = 120.0  # without a byte: a large model behind a long queue needs some time
PAUSES_S = (0.2, 1.0, 3.0)  # before further tries
_LONGEST_PAUSE_S = 10.0  # that a server may ask for
MOST_TOKENS = 1024
_TOP = 20  # probabilities told a token; vLLM refuses more
_BUSY = (429, 502, 503)


class Unreachable(EngineError):
    """The server is not there, or went away: what answers next may be another one."""


class CacheMiss(EngineError):
    """The server no longer has the picture that was only named."""


class _Again(Exception):
    """It did not begin to answer, so that asking again costs nobody anything."""

    def __init__(self, error: EngineError, after: float = 0.0) -> None:
        super().__init__(str(error))
        self.error, self.after = error, after


class Server:
    """One model of a server. key: of the environment; None where none is set.

    Raises EngineError where the client is not installed.
    """

    def __init__(self, address: Address) -> None:
        require('openai', 'A server as checkpoint', EngineError)
        import openai

        self._openai = openai
        self.address, self.model = address, address.model
        self.is_vllm = False
        self._logprobs = True
        unnamed: Any = {'OpenAI-Organization': openai.omit, 'OpenAI-Project': openai.omit}
        self._client: Any = openai.AsyncOpenAI(
            base_url=address.base,
            # The client wants one, and takes that of another service from the environment.
            api_key=os.environ.get(KEY) or 'none',
            max_retries=0,
            timeout=openai.Timeout(SILENCE_S, connect=CONNECT_S),
            default_headers=unnamed,
        )

    async def connect(self) -> None:
        """Find the model. Raises EngineError."""
        listed = await self._again(self._models)
        names = [str(model.id) for model in listed]
        if not self.model and len(names) == 1:
            self.model = names[0]
        if self.model not in names:
            have = ', '.join(map(shortened, names[:8])) or 'no model'
            wanted = f'{self.model} is not' if self.model else 'no model was named that is'
            raise EngineError(
                f'{wanted} among what {self.address.base} serves ({have}): name it after #, '
                f'as {self.address.base}#{names[0] if names else "MODEL"}'
            )
        chosen = listed[names.index(self.model)]
        self.is_vllm = getattr(chosen, 'owned_by', '') == 'vllm'

    async def ask(
        self,
        question: Question,
        manner: Manner,
        picture: dict[str, Any],
        on_first: Callable[[], None] = lambda: None,
    ) -> Reply:
        """Ask, and read until the answer is complete. picture: the part of the message with it.

        on_first: called when the first token is here. Raises EngineError.
        """
        prompt = manner.prompt(question)
        stop = manner.stop if question.mode.name != 'ASK' else ''

        async def once() -> Reply:
            reply = Reply(question, manner, time.monotonic())
            try:
                await self._read(self._wanted(prompt, picture, stop), reply, on_first)
            except self._openai.BadRequestError as error:
                if not self._logprobs or self.is_vllm or 'logprob' not in str(error).lower():
                    raise
                self._logprobs = False
                await self._read(self._wanted(prompt, picture, stop), reply, on_first)
            return reply

        return await self._again(once)

    async def prompt_ids(self, prompt: str, picture: dict[str, Any]) -> list[int]:
        """What the server's model reads of a question, image included; [] if it does not tell."""
        wanted = self._wanted(prompt, picture, '') | {'max_tokens': 1}

        async def once() -> list[int]:
            told = await self._client.chat.completions.create(**wanted)
            return list(getattr(told, 'prompt_token_ids', None) or ())

        return await self._again(once) if self.is_vllm else []

    async def text_of(self, ids: list[int]) -> str | None:
        """What the server's tokenizer makes of ids; None if it does not tell."""
        try:
            told = await self._client.post(
                f'{self.address.root}/detokenize',
                body={'model': self.model, 'tokens': ids},
                cast_to=object,
            )
        except self._openai.OpenAIError:
            return None
        text = told.get('prompt') if isinstance(told, dict) else None
        return text if isinstance(text, str) else None

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.close()

    async def _models(self) -> list[Any]:
        return list((await self._client.models.list()).data)

    def _wanted(self, prompt: str, picture: dict[str, Any], stop: str) -> dict[str, Any]:
        """Of a request. The image comes first, so that a cache of what begins alike holds it."""
        content = [picture, {'type': 'text', 'text': prompt}]
        wanted: dict[str, Any] = {
            'model': self.model,
            'messages': [{'role': 'user', 'content': content}],
            'temperature': 0,
            'max_tokens': MOST_TOKENS,
        }
        if self._logprobs:
            wanted |= {'logprobs': True, 'top_logprobs': _TOP}
        if not self.is_vllm:
            # Others fail on what they do not know.
            return wanted
        if stop:
            wanted['stop'] = [stop]
        wanted['extra_body'] = {
            'include_stop_str_in_output': True,
            'skip_special_tokens': False,
            'return_token_ids': True,
        }
        return wanted

    async def _read(
        self, wanted: dict[str, Any], reply: Reply, on_first: Callable[[], None]
    ) -> None:
        options = {}
        if self.is_vllm:
            # With each token, for where enough is written the end is not waited for.
            usage = {'include_usage': True, 'continuous_usage_stats': True}
            options = {'stream_options': usage}
        stream = await self._client.chat.completions.create(**wanted, **options, stream=True)
        begun = False
        try:
            async for chunk in stream:
                if reply.take(chunk) and not begun:
                    begun = True
                    on_first()
                if reply.done:
                    return
        except self._openai.APIConnectionError as error:
            if not begun and not isinstance(error, self._openai.APITimeoutError):
                raise
            raise self._told(error, amid=True) from error
        finally:
            # Closed before its end, the server stops to compute.
            await stream.close()
        if not reply.ended:
            raise Unreachable(f'{self.address.base} ended the connection amid an answer: ask again')

    async def _again(self, once: Callable[[], Any]) -> Any:
        """Try, and where nothing had begun, after a pause try again."""
        for pause in (*PAUSES_S, None):
            try:
                return await self._tried(once)
            except _Again as again:
                if pause is None or again.after > _LONGEST_PAUSE_S:
                    raise again.error from again
                await asyncio.sleep(max(pause, again.after))
        raise AssertionError('the last try ends otherwise')

    async def _tried(self, once: Callable[[], Any]) -> Any:
        try:
            return await once()
        except EngineError:
            raise
        except self._openai.APITimeoutError as error:
            raise self._told(error) from error
        except self._openai.APIConnectionError as error:
            told = self._told(error)
            if _cause(error, ssl.SSLError):
                raise told from error
            raise _Again(told) from error
        except self._openai.APIStatusError as error:
            told = self._told_status(error)
            if error.status_code in _BUSY:
                raise _Again(told, _retry_after(error)) from error
            raise told from error
        except (self._openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
            raise EngineError(
                f'{self.address.base} does not speak the protocol of OpenAI as it should: '
                f'{shortened(error, 200)}'
            ) from error

    def _told(self, error: Exception, amid: bool = False) -> EngineError:
        """What a lost connection means."""
        base = self.address.base
        if isinstance(error, self._openai.APITimeoutError):
            connecting = _cause(error, TimeoutError) and 'Connect' in repr(error.__cause__)
            seconds = CONNECT_S if connecting else SILENCE_S
            return Unreachable(f'{base} said nothing for {seconds:g} s: is it overloaded?')
        if amid:
            return Unreachable(f'{base} closed the connection amid an answer: ask again')
        if trusted := _cause(error, ssl.SSLError):
            return EngineError(
                f'{base} is not trusted ({shortened(trusted, 200)}): have its certificate signed '
                'by an authority that this machine trusts, or name one in SSL_CERT_FILE'
            )
        why = shortened(error.__cause__ or error, 200)
        return Unreachable(f'{base} cannot be reached ({why}): is the server running there?')

    def _told_status(self, error: Any) -> EngineError:
        """What a status means."""
        base, status, said = self.address.base, error.status_code, _said(error)
        if status in (401, 403):
            return EngineError(f'{base} wants a key ({said}): set the environment variable {KEY}')
        if status == 404:
            return EngineError(f'{base} has no such model or path ({said}): should it end in /v1?')
        if status in _BUSY:
            return EngineError(f'{base} is busy or starting ({status}: {said}): ask again later')
        if status == 400 and 'cache miss' in said.lower():
            return CacheMiss(said)
        if status in (400, 413, 422):
            return InvalidQuestion(f'{base} refuses the question ({said})')
        return EngineError(f'{base} failed ({status}: {said})')


def _said(error: Any) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get('error', body)
        body = inner.get('message', inner) if isinstance(inner, dict) else inner
    return shortened(body or error, 300)


def _retry_after(error: Any) -> float:
    """Seconds that the server asks to wait."""
    try:
        return max(float(error.response.headers.get('retry-after', 0)), 0.0)
    except ValueError:
        return 0.0


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    return next((cause for cause in _causes(error) if isinstance(cause, kind)), None)
