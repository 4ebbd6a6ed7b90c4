# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a data set from the addresses that it names, for somebody who asked for that.

No host is asked more often than it is polite to, what a server cannot give now is asked for again
later and later, and what was had is never asked for again.
"""

from __future__ import annotations

import hashlib
import json
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from urllib.parse import urlsplit

from molmo_ros.grounding.image_file import UnreadableImage, decode_image
from molmo_ros.output import write_whole

LOG = 'downloads.jsonl'
"""Beside the pictures: what is gone for good, so that it is not asked for again."""

_LATER = (0, 408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT_S = 120.0


@dataclass(frozen=True)
class Wanted:
    """A picture's address, where it goes, and the SHA-256 of its bytes; '' where not known."""

    url: str
    path: Path
    sha256: str = ''


class Refused(Exception):
    """A server did not give it. status: HTTP's, 0 for none. retry_after: seconds it asks for."""

    def __init__(self, message: str, status: int = 0, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


Get = Callable[[str], bytes]
"""Loads an address. Raises Refused."""


@dataclass(frozen=True)
class Politeness:
    """rate: requests a second to one host at most. jobs: hosts that are asked at once.

    retries: of what may come later. back_off: seconds before the first of them, doubled each time.
    """

    rate: float = 2.0
    jobs: int = 8
    retries: int = 4
    back_off: float = 2.0


GOT, GONE, CHANGED, NOT_PICTURE, LATER = 'got', 'gone', 'changed', 'not a picture', 'not now'
OUTCOMES = (GOT, GONE, CHANGED, NOT_PICTURE, LATER)
"""What may become of one; all but the first and the last are written into the log."""


def download(
    wanted: Sequence[Wanted],
    get: Get,
    politeness: Politeness,
    on_done: Callable[[Wanted, str, str], None] = lambda one, outcome, why: None,
    stop: threading.Event | None = None,
) -> Counter[str]:
    """Get pictures, and count by OUTCOMES what became of them.

    on_done: told of each, from several threads. stop: ends it where it is. Raises UserError where
    one cannot be written.
    """
    stopping = stop or threading.Event()
    run = _Run(get, politeness, on_done, stopping)
    for one in _by_turns(wanted):
        run.todo.put(one)
    threads = [
        threading.Thread(target=run.work, name=f'download_{i}', daemon=True)
        for i in range(min(politeness.jobs, len(wanted)))
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
    finally:
        stopping.set()
    if run.errors:
        raise run.errors[0]
    return run.outcomes


def known_gone(folder: Path) -> set[str]:
    """The addresses that an earlier run found to be of no use."""
    try:
        lines = (folder / LOG).read_text(encoding='utf-8').split('\n')
    except OSError:
        return set()
    found = set()
    for line in lines:
        try:
            found.add(json.loads(line)['url'])
        except (ValueError, KeyError, TypeError):
            continue  # of a run that was interrupted
    return found


class _Run:
    def __init__(
        self,
        get: Get,
        politeness: Politeness,
        on_done: Callable[[Wanted, str, str], None],
        stopping: threading.Event,
    ) -> None:
        self._get, self._politeness, self._on_done = get, politeness, on_done
        self._stopping = stopping
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}  # when a host may be asked again
        self.todo: queue.SimpleQueue[Wanted] = queue.SimpleQueue()
        self.outcomes: Counter[str] = Counter()
        self.errors: list[Exception] = []

    def work(self) -> None:
        """Take one after the other, until there is none."""
        try:
            while not self._stopping.is_set():
                try:
                    one = self.todo.get_nowait()
                except queue.Empty:
                    return
                outcome, why = self._had(one)
                if outcome:
                    self._note(one, outcome, why)
        except Exception as error:
            self.errors.append(error)
            self._stopping.set()

    def _note(self, one: Wanted, outcome: str, why: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1
            if outcome not in (GOT, LATER):
                line = json.dumps({'url': one.url, 'outcome': outcome, 'why': why})
                with (one.path.parent / LOG).open('a', encoding='utf-8') as file:
                    file.write(f'{line}\n')
        self._on_done(one, outcome, why)

    def _had(self, one: Wanted) -> tuple[str, str]:
        """What became of it, and why; nothing where it was stopped."""
        for attempt in range(self._politeness.retries + 1):
            if not self._wait_turn(one.url):
                return '', ''
            try:
                return self._kept(one, self._get(one.url))
            except Refused as error:
                why = str(error)
                if error.status not in _LATER:
                    return GONE, why
                asked_for = error.retry_after
            wait = self._politeness.back_off * 2**attempt * random.uniform(0.75, 1.25)
            if attempt < self._politeness.retries:
                self._put_off(one.url, min(max(wait, asked_for), _LONGEST_WAIT_S))
        return LATER, why

    def _kept(self, one: Wanted, data: bytes) -> tuple[str, str]:
        found = hashlib.sha256(data).hexdigest()
        if one.sha256 and found != one.sha256:
            return CHANGED, f'its SHA-256 is {found}, and was {one.sha256}'
        try:
            decode_image(data)
        except UnreadableImage as error:
            return NOT_PICTURE, f'it {error}'
        write_whole(one.path, data)
        return GOT, ''

    def _wait_turn(self, url: str) -> bool:
        """Wait until its host may be asked; False where it was stopped."""
        host = urlsplit(url).netloc
        with self._lock:
            turn = max(self._next.get(host, 0.0), time.monotonic())
            self._next[host] = turn + 1 / self._politeness.rate
        return not self._stopping.wait(max(turn - time.monotonic(), 0.0))

    def _put_off(self, url: str, seconds: float) -> None:
        """Leave its host alone for so long."""
        host = urlsplit(url).netloc
        with self._lock:
            self._next[host] = max(self._next.get(host, 0.0), time.monotonic() + seconds)


def _by_turns(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Hosts take turns, so that none of them holds up the others."""
    by_host: dict[str, list[Wanted]] = {}
    for one in wanted:
        by_host.setdefault(urlsplit(one.url).netloc, []).append(one)
    return [one for some in zip_longest(*by_host.values()) for one in some if one is not None]
