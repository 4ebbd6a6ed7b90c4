# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The panel of the page: what one types and chooses, and what is told."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isinf
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.errors import shortened
from molmo_ros.pointing import Mode
from molmo_ros.viewing.drawing import LAYERS
from molmo_ros.viewing.feeds import Feed
from molmo_ros.viewing.pictures import answer_on
from molmo_ros.viewing.telling import answer_html, code_html, said, stages_html
from molmo_ros.viewing.views import Shown, View

_WIDEST = 640  # pixels of a picture in the panel
_OPTICAL = "the camera's"
_CLOUD, _PICTURE = 'cloud', 'picture'
_NEWEST = 'newest'
_NO_HEAT = (
    'heat: only a MolmoPoint in this process tells it, where it points; other models and the '
    'nodes of ROS do not'
)
# On a phone viser's panel leaves a third of the width empty.
WHOLE_WIDTH = (
    '<style>@media (max-width: 36em) {[style*="width: 20em"] {width: 100vw !important}}</style>'
)


@dataclass(frozen=True)
class Wishes:
    """What to do when somebody clicks or chooses."""

    ask: Callable[[str, Mode], None]
    stop: Callable[[], None]
    choose_camera: Callable[[str], None]
    choose_frame: Callable[[str], None]
    seek: Callable[[float], None]
    play: Callable[[bool], None]
    show_picture: Callable[[bool], None]
    show_layer: Callable[[str, bool], None]
    show_heat: Callable[[bool], None]
    look: Callable[[Sequence[Any]], None]
    again: Callable[[int], None]


class Panel:
    """Fills the panel of a viser server."""

    def __init__(self, server: Any, cameras: Sequence[str], note: str, wishes: Wishes) -> None:
        self._gui, self._wishes = server.gui, wishes
        self._loop = server.get_event_loop()
        self._shown: Shown | None = None
        gui = self._gui
        gui.configure_theme(control_width='large', show_logo=False, show_share_button=False)
        gui.main_panel.dock_right()
        gui.add_html(WHOLE_WIDTH)
        self._state = gui.add_html('')
        # Of several lines, so that Enter comes with the text: a form of viser's may lose the last
        # letters before it.
        self._query = gui.add_text('Ask', '', multiline=True, hint='the red mug; Enter asks')
        self._mode = gui.add_dropdown('How', [mode.name.lower() for mode in Mode])
        self._ask = gui.add_button('Ask')
        self._stop = gui.add_button('Stop', visible=False)
        self._query.on_update(by_people(lambda _: self._typed()))
        self._ask.on_click(lambda _: self._asked())
        self._stop.on_click(lambda _: wishes.stop())
        self._answer = gui.add_html(said(note))
        self._asked_picture = _add_picture(gui, visible=False)
        with gui.add_folder('Milliseconds', expand_by_default=False, visible=False) as self._timed:
            self._stages = gui.add_html('')
        with gui.add_folder(
            'The same by ROS', expand_by_default=False, visible=False
        ) as self._code:
            self._lines = gui.add_html('')
        with gui.add_folder('Camera'):
            self._add_camera(cameras)
        with gui.add_folder('Shown', expand_by_default=False):
            self._add_layers()
        self._history: dict[str, int] = {}
        with gui.add_folder('Earlier answers', expand_by_default=False):
            self._earlier = gui.add_dropdown('Answer', [_NEWEST])
        self._earlier.on_update(lambda event: self._again(event))

    def _add_camera(self, cameras: Sequence[str]) -> None:
        gui, wishes = self._gui, self._wishes
        self._picture = _add_picture(gui, visible=True)
        self._camera = gui.add_dropdown('Camera', cameras)
        self._frame = gui.add_dropdown(
            'Frame', [_OPTICAL], hint='that positions are told and shown in'
        )
        self._live = gui.add_checkbox('Live', True, hint='follow the camera, or hold the picture')
        self._at = gui.add_slider('At', 0.0, 1.0, 0.01, 0.0, visible=False)
        self._view = gui.add_button_group('Show the', [_CLOUD, _PICTURE])
        look = gui.add_button('Look from the camera')
        self._about = gui.add_html('')
        self._camera.on_update(at_once(lambda: wishes.choose_camera(self._camera.value)))
        self._frame.on_update(at_once(lambda: wishes.choose_frame(self._frame_chosen())))
        self._live.on_update(by_people(lambda _: wishes.play(self._live.value)))
        self._at.on_update(at_once(lambda: wishes.seek(self._at.value)))
        self._view.on_click(lambda _: wishes.show_picture(self._view.value == _PICTURE))
        look.on_click(lambda event: wishes.look([event.client]))

    def _add_layers(self) -> None:
        for layer in (*LAYERS, 'frames'):
            box = self._gui.add_checkbox(layer.capitalize(), True)
            box.on_update(lambda _, layer=layer, box=box: self._wishes.show_layer(layer, box.value))
        self._heat = self._gui.add_checkbox(
            'Heat', False, disabled=True, hint='in the picture, where else it would have pointed'
        )
        self._no_heat = self._gui.add_html(said(_NO_HEAT))
        self._heat.on_update(by_people(lambda _: self._wishes.show_heat(self._heat.value)))

    def tell(self, text: str, busy: bool) -> None:
        """What is being done, or went wrong."""
        self._state.content = said(text)
        self._stop.visible, self._ask.disabled = busy, busy

    def show_camera(self, name: str, feed: Feed) -> None:
        """Another camera is looked through."""
        self._set(self._camera, name)
        recorded = bool(feed.lasts) and not isinf(feed.lasts)
        self._at.visible = recorded
        if recorded:
            self._at.label = 'Picture' if feed.counts else 'At (s)'
            self._at.max, self._at.step = feed.lasts, 1.0 if feed.counts else 0.05
            self._set(self._at, 0.0)

    def show_live(self, live: bool) -> None:
        """Whether the camera is followed."""
        self._live.value = live

    def show_at(self, at: float) -> None:
        """Where in a recording it is."""
        self._set(self._at, at)

    def show_view(self, view: View) -> None:
        """The picture, and the frames to choose from."""
        self._picture.image = _small(view.capture.frame.color)
        names = [_OPTICAL, *sorted({*view.frames, *filter(None, [view.frame])})]
        if tuple(names) != self._frame.options:
            self._frame.options = names
        self._set(self._frame, view.frame or _OPTICAL)
        why = '' if view.target.T_target_optical is not None else view.target.why_not
        missing = '; '.join(dict.fromkeys(view.capture.missing.values()))
        self._about.content = said(' · '.join(filter(None, [view.about, missing, why])))

    def show_answer(self, shown: Shown, lines: Iterable[tuple[str, str]]) -> None:
        """An answer: its picture, what it says, how long it took, and how to ask so again."""
        self._answer.content = answer_html(shown)
        self._shown = shown
        self._heat.disabled = self._no_heat.visible = shown.heat is None
        self.show_heat(self._heat.value)
        self._asked_picture.visible = True
        self._timed.visible = bool(shown.stages)
        self._stages.content = stages_html(shown.stages)
        titled = list(lines)
        self._code.visible = bool(titled)
        self._lines.content = code_html(titled)

    def show_heat(self, hot: bool) -> None:
        """The picture of the answer under its heat, or not."""
        if self._shown is not None:
            color = self._shown.view.capture.frame.color
            self._asked_picture.image = _small(answer_on(color, self._shown, hot))

    def add_to_history(self, shown: Shown, number: int, kept: Sequence[int]) -> None:
        """An answer that can be looked at again; kept: the numbers of all that can."""
        self._history = {name: n for name, n in self._history.items() if n in kept and n != number}
        self._history[f'{number + 1} {shortened(shown.title, 40)} · {shown.status}'] = number
        self._earlier.options = [_NEWEST, *reversed(self._history)]
        self._earlier.value = _NEWEST

    def _typed(self) -> None:
        if '\n' in self._query.value:
            self._asked()

    def _asked(self) -> None:
        query = ' '.join(self._query.value.split())
        self._query.value = ''
        mode = Mode.__members__.get(self._mode.value.upper(), Mode.POINT)
        self._wishes.ask(query, mode)

    def _again(self, event: Any) -> None:
        if event.client is None:
            return
        newest = max(self._history.values(), default=None)
        number = self._history.get(self._earlier.value, newest)
        if number is not None:
            self._wishes.again(number)

    def _set(self, choice: Any, value: object) -> None:
        """Where `at_once` acts, so that what somebody chose is not set back before it counts."""
        # What is still under way when the page ends finds no loop any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(setattr, choice, 'value', value)

    def _frame_chosen(self) -> str:
        return '' if self._frame.value == _OPTICAL else self._frame.value


def _add_picture(gui: Any, visible: bool) -> Any:
    grey = np.full((3, 4, 3), 200, np.uint8)
    return gui.add_image(grey, format='jpeg', jpeg_quality=80, visible=visible)


def by_people(act: Callable[[Any], None]) -> Callable[[Any], None]:
    """Not when a value is set from here."""
    return lambda event: act(event) if event.client is not None else None


def at_once(act: Callable[[], None]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """As `by_people`, for what takes no time: in viser's loop, right after the value came."""

    async def acted(event: Any) -> None:
        if event.client is not None:
            act()

    return acted


def _small(color: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = _WIDEST / color.shape[1]
    if scale >= 1:
        return color
    size = _WIDEST, max(1, round(color.shape[0] * scale))
    return np.asarray(cv2.resize(color, size, interpolation=cv2.INTER_AREA), np.uint8)
