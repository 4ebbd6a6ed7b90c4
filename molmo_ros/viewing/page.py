# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page: what the session tells is shown, and what people click goes to the session."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isinf
from typing import Any

from molmo_ros.viewing.door import opened
from molmo_ros.viewing.feeds import Feed
from molmo_ros.viewing.panel import Panel, Wishes
from molmo_ros.viewing.scene import Scene
from molmo_ros.viewing.session import OpenEngine, OpenFeed, Session
from molmo_ros.viewing.telling import python_code, service_call
from molmo_ros.viewing.views import Shown, View

_LABEL = 'molmo_ros'


@dataclass(frozen=True)
class PageSettings:
    """host, port: where the page is; no port: the usual one, or any. token: also on this machine.

    rate: views a second at most. cloud_points: drawn at most. note: said before the first answer.
    """

    host: str = '127.0.0.1'
    port: int | None = None
    token: bool = False
    rate: float = 10.0
    cloud_points: int = 80_000
    note: str = ''


class Page:
    """One for all browsers; the listener of a session."""

    def __init__(
        self,
        server: Any,
        cameras: Mapping[str, OpenFeed],
        open_engine: OpenEngine | None,
        settings: PageSettings,
    ) -> None:
        self._lock = threading.RLock()  # the session's threads and the browsers' all draw
        self._session = session = Session(cameras, open_engine, self, settings.rate)
        self._feed: Feed | None = None
        self._drawn: Shown | None = None
        self._number = -1  # of the answer that the panel shows
        self._kept: set[int] = set()
        self._live = True
        self._scene = Scene(server, settings.cloud_points)
        wishes = Wishes(
            session.ask,
            session.stop,
            session.choose_camera,
            session.choose_frame,
            session.seek,
            self._play,
            self._show_picture,
            self._show_layer,
            self._show_heat,
            self._scene.look,
            self._show_again,
        )
        self._panel = Panel(server, list(cameras), settings.note, wishes)
        server.scene.on_click()(self._clicked)

    @property
    def session(self) -> Session:
        """What goes on behind it."""
        return self._session

    def on_camera(self, name: str, feed: Feed) -> None:
        """See Listener."""
        with self._lock:
            self._feed, self._drawn, self._live = feed, None, True
            self._session.play(True)
            self._scene.forget()
            self._panel.show_camera(name, feed)
            self._panel.show_live(True)

    def on_view(self, view: View) -> None:
        """See Listener."""
        with self._lock:
            if view is not self._session.view:
                return  # an answer's view was gone back to while this one waited
            if self._drawn is not None and not self._fits(self._drawn, view):
                self._draw(None)
            self._scene.draw_view(view)
            self._panel.show_view(view)

    def on_at(self, at: float) -> None:
        """See Listener."""
        self._panel.show_at(at)

    def on_answer(self, shown: Shown, number: int, kept: list[int]) -> None:
        """See Listener."""
        with self._lock:
            first = number not in self._kept
            self._kept = {*kept}
            if first:
                self._number = number
                # A recording that went on would leave its answer behind at once.
                if not self._live or not self._follows():
                    self._hold(shown.view)
            # Whoever has gone on meanwhile, is not taken back by the rest of an answer.
            if number == self._number:
                self._show(shown)
            if first:
                self._panel.add_to_history(shown, number, kept)

    def on_state(self, text: str, busy: bool) -> None:
        """See Listener."""
        self._panel.tell(text, busy)

    def _show(self, shown: Shown) -> None:
        view = self._session.view
        self._draw(shown if view is None or self._fits(shown, view) else None)
        self._panel.show_answer(shown, self._lines(shown))

    def _draw(self, shown: Shown | None) -> None:
        self._drawn = shown
        self._scene.draw_answer(shown)

    def _hold(self, view: View) -> None:
        self._session.hold(view)
        self._live = False
        self._panel.show_live(False)
        self._scene.draw_view(view)
        self._panel.show_view(view)

    def _follows(self) -> bool:
        """Whether a camera is looked through, and no recording."""
        return self._feed is not None and isinf(self._feed.lasts)

    def _fits(self, shown: Shown, view: View) -> bool:
        """Whether an answer may be drawn into a view: it stays where it is meanwhile."""
        if shown.view.capture.frame.color is view.capture.frame.color:
            return shown.view.frame == view.frame
        same = (shown.view.camera, shown.view.frame) == (view.camera, view.frame)
        return same and self._follows()

    def _lines(self, shown: Shown) -> Iterator[tuple[str, str]]:
        if not shown.query:
            return
        namespace = getattr(self._feed, 'namespace', '')
        yield 'in a shell', service_call(shown, f'{namespace}/point_query')
        yield 'in Python', python_code(shown, namespace)

    def _play(self, live: bool) -> None:
        with self._lock:
            self._live = live
            self._session.play(live)

    def _show_picture(self, as_picture: bool) -> None:
        with self._lock:
            self._scene.show_picture(as_picture)

    def _show_layer(self, layer: str, visible: bool) -> None:
        with self._lock:
            self._scene.show_layer(layer, visible)

    def _show_heat(self, hot: bool) -> None:
        with self._lock:
            self._scene.show_heat(hot)
            self._panel.show_heat(hot)

    def _show_again(self, number: int) -> None:
        shown = self._session.again(number)
        if shown is None:
            return
        with self._lock:
            self._number = number
            self._hold(shown.view)
            self._show(shown)

    def _clicked(self, event: Any) -> None:
        with self._lock:
            pixel = self._scene.pixel_of(event.ray_origin, event.ray_direction)
        if pixel is not None:
            self._session.lift(*pixel)


@contextmanager
def served(
    cameras: Mapping[str, OpenFeed], open_engine: OpenEngine | None, settings: PageSettings
) -> Iterator[tuple[Page, str]]:
    """The page and its address, for as long as the context is entered.

    cameras: by name, the first is shown. Raises UserError where it cannot be served there.
    """
    with opened(settings.host, settings.port, settings.token, _LABEL) as (server, door):
        page = Page(server, cameras, open_engine, settings)
        page.session.start()
        try:
            yield page, door.address
        finally:
            page.session.close()
