# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a server is: `http://gpu-box:8000/v1#allenai/Molmo-7B-D-0924`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from molmo_ros.engine.answers import EngineError

KEY = 'MOLMO_ROS_API_KEY'
"""The environment variable with a server's key. Not OPENAI_API_KEY, which is for another server."""

_FORM = 'http://HOST:PORT/v1#MODEL'


@dataclass(frozen=True)
class Address:
    """base: up to what the protocol adds, as `http://gpu-box:8000/v1`. model: as the server names
    it; '': the only one that it has."""

    base: str
    model: str

    @property
    def root(self) -> str:
        """Of the server: without the path of the protocol."""
        return self.base.removesuffix('/v1')

    def __str__(self) -> str:
        return f'{self.base}#{self.model}' if self.model else self.base

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever uses it should know."""
        parts = urlsplit(self.base)
        if parts.scheme == 'https' or _of_this_machine(parts.hostname or ''):
            return ()
        what = f'pictures, questions and {KEY}' if os.environ.get(KEY) else 'pictures and questions'
        return (
            f'{self.base}: {what} leave this machine unencrypted, and answers can be forged on the '
            'way; use https beyond a network of your own (docs/serving.md)',
        )


def is_address(checkpoint: str | Path) -> bool:
    """Whether a checkpoint is one that a server has."""
    return str(checkpoint).lower().startswith(('http:', 'https:'))


def read_address(text: str) -> Address:
    """Raises EngineError, which says what is wrong with it."""
    try:
        parts = urlsplit(text.strip())
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise EngineError(f'the address of the server is not understood ({error}): {_FORM}') from (
            error
        )
    if parts.username is not None or parts.password is not None:
        raise EngineError(
            'the address of the server has a name or a password in it, which lists of parameters '
            f'would show: set the environment variable {KEY} instead'
        )
    if not named or parts.query or not text.lower().startswith(f'{parts.scheme}://'):
        raise EngineError(f'{text} is not the address of a server: {_FORM}')
    path = parts.path.rstrip('/').removesuffix('/chat/completions') or '/v1'
    return Address(f'{parts.scheme}://{parts.netloc}{path}', parts.fragment.strip())


def _of_this_machine(host: str) -> bool:
    if host == 'localhost' or host.endswith('.localhost'):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
