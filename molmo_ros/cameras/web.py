# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A picture from the web: fetched because somebody named its address, and for no other reason."""

from __future__ import annotations

import time
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from molmo_ros.errors import UserError

MAX_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 30.0
_CHUNK = 1 << 16
# Without those for files and FTP, so that a redirection leads nowhere else.
_HANDLERS = (
    ProxyHandler,
    HTTPHandler,
    HTTPSHandler,
    HTTPRedirectHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
)


class NotHad(UserError):
    """It did not come. status: HTTP's, 0 where none came. retry_after: s that the server asks for,
    0 where it asks for none."""

    def __init__(self, message: str, status: int = 0, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


def is_address(text: str) -> bool:
    """Whether a text begins as an address of the web does."""
    return text.lower().startswith(('http://', 'https://'))


def fetch_picture(
    address: str, timeout: float = TIMEOUT_S, limit: int = MAX_BYTES, agent: str = 'molmo-ros'
) -> bytes:
    """The bytes at an address of http or https: no more than `limit`, in no more than `timeout` s.

    agent: who asks. Raises UserError, NotHad where it might have come.
    """
    end = time.monotonic() + timeout
    opener = OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    data = bytearray()
    try:
        request = Request(address, headers={'User-Agent': agent})
        with opener.open(request, timeout=timeout) as response:
            while chunk := response.read1(_CHUNK):
                data += chunk
                if len(data) > limit:
                    raise UserError(f'{address} is larger than {limit / 2**20:g} MB')
                if time.monotonic() > end:
                    raise TimeoutError
    except HTTPError as error:
        told = f'{address} cannot be had: {error.code} {error.reason}'
        raise NotHad(told, error.code, _seconds(error.headers.get('Retry-After'))) from error
    except TimeoutError as error:
        raise NotHad(f'{address} did not come within {timeout:g} s') from error
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise NotHad(f'{address} did not come within {timeout:g} s') from error
        raise NotHad(f'{address} cannot be had: {error.reason}') from error
    except (HTTPException, OSError, ValueError) as error:
        raise NotHad(f'{address} cannot be had: {error or type(error).__name__}') from error
    return bytes(data)


def _seconds(header: str | None) -> float:
    """Of Retry-After, which may be a date instead: 0."""
    return float(header) if header is not None and header.strip().isdecimal() else 0.0
