# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page: a picture to click into, and a panel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from math import tan
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.annotate import annotated
from molmo_ros.pointing import ImagePoint
from molmo_ros.viewing.door import opened
from molmo_ros.viewing.labelling.book import LabelBook
from molmo_ros.viewing.labelling.labeller import Click, Labeller, Shown
from molmo_ros.viewing.panel import WHOLE_WIDTH, by_people
from molmo_ros.viewing.session import OpenEngine
from molmo_ros.viewing.telling import said

_TITLE = 'molmo_ros label'
_LARGEST = 1600  # pixels of what is shown of a large picture
_MARGIN = 1.04
_NEW = '(a new one)'


class LabelPage:
    """One for all browsers. label: to begin with."""

    def __init__(self, server: Any, book: LabelBook, open_engine: OpenEngine, label: str) -> None:
        self._server, self._gui, self._scene = server, server.gui, server.scene
        self._shown: Shown | None = None
        self._picture: Any = None
        self.labeller = Labeller(book, open_engine, self._show, label)
        self._add_panel(book, label)
        camera = server.initial_camera
        camera.position, camera.look_at, camera.up = (
            (0.0, 0.0, -1.2),
            (0.0, 0.0, 0.0),
            (0.0, -1.0, 0.0),
        )
        server.on_client_connect(self._connected)
        server.scene.on_click()(self._clicked)

    def _add_panel(self, book: LabelBook, label: str) -> None:
        gui, labeller = self._gui, self.labeller
        gui.configure_theme(control_width='large', show_logo=False, show_share_button=False)
        gui.main_panel.dock_right()
        gui.add_html(WHOLE_WIDTH)
        self._state = gui.add_html('')
        self._label = gui.add_text('Label', label, hint='what you will ask for, without "the"')
        self._known = gui.add_dropdown('Used before', [_NEW])
        self._propose = gui.add_button('Ask the model')
        self._stop = gui.add_button('Stop', visible=False)
        self._click = gui.add_button_group('A click', [click.value for click in Click])
        self._click_does = gui.add_html('')
        self._keep_next = gui.add_button('Keep, next picture')
        self._keep = gui.add_button('Keep')
        self._change = gui.add_button_group('Points', ['undo', 'clear'])
        self._number = gui.add_slider('Picture', 1, max(len(book.pictures), 2), 1, 1)
        self._step = gui.add_button_group('Go to the', ['one before', 'next one'])
        self._written = gui.add_html('')
        with gui.add_folder('More', expand_by_default=False):
            asks = gui.add_checkbox('Ask by itself', False, hint='the model, about each picture')
            remove = gui.add_button('Remove the line of this label')
            look = gui.add_button('Show the whole picture')
        self._what, self._sought = Click.ADDS, 0
        self._label.on_update(by_people(lambda _: labeller.choose_label(self._label.value)))
        self._known.on_update(by_people(lambda _: self._chosen()))
        self._propose.on_click(lambda _: labeller.propose())
        self._stop.on_click(lambda _: labeller.stop())
        self._click.on_click(lambda _: self._set_click(Click(self._click.value)))
        self._keep_next.on_click(lambda _: labeller.keep(True))
        self._keep.on_click(lambda _: labeller.keep(False))
        self._change.on_click(
            lambda _: labeller.undo() if self._change.value == 'undo' else labeller.clear()
        )
        self._number.on_update(by_people(lambda _: self._seek(int(self._number.value) - 1)))
        self._step.on_click(lambda _: labeller.step(1 if self._step.value == 'next one' else -1))
        asks.on_update(by_people(lambda _: labeller.ask_by_itself(asks.value)))
        remove.on_click(lambda _: labeller.remove())
        look.on_click(lambda event: self._look(event.client))
        self._set_click(Click.ADDS)

    def _chosen(self) -> None:
        if self._known.value != _NEW:
            self._label.value = self._known.value
            self.labeller.choose_label(self._known.value)

    def _seek(self, number: int) -> None:
        self._sought = number
        self.labeller.go(number)

    def _set_click(self, what: Click) -> None:
        self._what = what
        what_for = {
            Click.ADDS: 'adds a point',
            Click.MOVES: 'moves the nearest point there',
            Click.REMOVES: 'removes the nearest point',
        }
        self._click_does.content = said(f'a click into the picture {what_for[what]}')

    def _show(self, shown: Shown) -> None:
        """Told by the labeller, one change at a time."""
        before, self._shown = self._shown, shown
        with self._server.atomic():
            if before is None or before.color is not shown.color or before.points != shown.points:
                self._draw(shown)
            self._tell(shown, before)
        if before is None or (
            before.color is not shown.color and _aspect(before) != _aspect(shown)
        ):
            for client in [*self._server.get_clients().values()]:
                self._look(client)

    def _draw(self, shown: Shown) -> None:
        color = shown.color if shown.color is not None else np.full((3, 4, 3), 128, np.uint8)
        small, scale = _small(color)
        points = [ImagePoint(u * scale, v * scale, shown.label) for u, v in shown.points]
        image, height = annotated(small, points), color.shape[0] / color.shape[1]
        if self._picture is None:
            self._picture = self._scene.add_image(
                '/picture',
                image,
                1.0,
                height,
                format='jpeg',
                jpeg_quality=88,
                cast_shadow=False,
                receive_shadow=False,
            )
        self._picture.image = image
        self._picture.render_width, self._picture.render_height = 1.0, height

    def _tell(self, shown: Shown, before: Shown | None) -> None:
        book, number = self.labeller.book, len(shown.points)
        points = f'{number} point{"s" * (number != 1)}'
        kept = 'kept' if shown.kept else 'not kept yet' if number else 'nothing is said yet'
        parts = [
            f'<b>{escape(shown.picture)}</b> ({shown.number + 1} of {len(book.pictures)})',
            f'{escape(shown.label) or "no label yet"}: {points}, {kept}',
            escape(shown.told),
        ]
        lines = '<br>'.join(filter(None, parts))
        self._state.content = f'<div style="padding:0 0.7em;font-size:0.85em">{lines}</div>'
        self._keep.label = f'Keep {points}' if number else 'Keep: there is none'
        self._stop.visible, self._propose.disabled = shown.busy, shown.busy
        # What somebody typed, chose or moved is not set back by what was told a moment before.
        names = [_NEW, *book.labels]
        if tuple(names) != self._known.options or before is None or before.label != shown.label:
            self._known.options = names
            self._known.value = shown.label if shown.label in names else _NEW
        if shown.number != self._sought:
            self._sought = shown.number
            self._number.value = shown.number + 1
        written = book.about(shown.picture)
        told = ', '.join(f'{label} ({len(points)})' for label, points in written.items())
        about = f'written about this picture: {told or "nothing"}'
        done = f'{shown.label}: in {book.done(shown.label)} of {len(book.pictures)} pictures'
        self._written.content = said(about) + (said(done) if shown.label else '')

    def _connected(self, client: Any) -> None:
        seen = [float(client.camera.aspect)]
        self._look(client)

        def turned(camera: Any) -> None:
            # The panel takes its part of the window after a while, and phones are turned.
            if abs(seen[-1] - camera.aspect) > 0.01 * camera.aspect:
                self._look(client)
            seen[:] = [camera.aspect]

        client.camera.on_update(turned)

    def _look(self, client: Any) -> None:
        """Have a browser see the whole picture, straight."""
        if client is None or self._shown is None:
            return
        height, camera = _aspect(self._shown), client.camera
        wide, fov = float(camera.aspect), float(camera.fov)
        away = _MARGIN * max(height, 1.0 / max(wide, 0.1)) / (2 * tan(fov / 2))
        with client.atomic():
            camera.up_direction = (0.0, -1.0, 0.0)
            camera.position = (0.0, 0.0, -away)
            camera.look_at = (0.0, 0.0, 0.0)

    def _clicked(self, event: Any) -> None:
        shown = self._shown
        if shown is None or shown.color is None:
            return
        pixel = pixel_of(event.ray_origin, event.ray_direction, shown.color.shape[:2])
        if pixel is not None:
            self.labeller.click(*pixel, self._what)


def pixel_of(
    origin: Sequence[float], direction: Sequence[float], size: tuple[int, ...]
) -> tuple[float, float] | None:
    """The pixel, from the top left corner, where a ray meets the picture; None beside it.

    The picture is 1 wide, in the plane z = 0 around the origin, y down. size: height, width.
    """
    if abs(direction[2]) < 1e-9:
        return None
    along = -origin[2] / direction[2]
    height, width = size
    u = width * (origin[0] + along * direction[0] + 0.5)
    v = width * (origin[1] + along * direction[1]) + 0.5 * height
    return (u, v) if 0 <= u <= width and 0 <= v <= height else None


def _aspect(shown: Shown) -> float:
    return 0.75 if shown.color is None else shown.color.shape[0] / shown.color.shape[1]


def _small(color: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    scale = min(_LARGEST / max(color.shape[:2]), 1.0)
    if scale == 1:
        return color, 1.0
    size = max(1, round(color.shape[1] * scale)), max(1, round(color.shape[0] * scale))
    return np.asarray(cv2.resize(color, size, interpolation=cv2.INTER_AREA), np.uint8), scale


@contextmanager
def served(
    book: LabelBook,
    open_engine: OpenEngine,
    host: str = '127.0.0.1',
    port: int | None = None,
    token: bool = False,
    label: str = '',
) -> Iterator[tuple[LabelPage, str]]:
    """The page and its address, for as long as the context is entered. Raises UserError."""
    with opened(host, port, token, _TITLE) as (server, door):
        page = LabelPage(server, book, open_engine, label)
        page.labeller.start()
        try:
            yield page, door.address
        finally:
            page.labeller.close()
