# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page with a scripted engine, and browsers that speak its websocket without drawing."""

import shutil
import threading
import time
from contextlib import ExitStack

import msgspec.msgpack
import numpy as np
import pytest
import viser
import zstandard
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from molmo_ros.engine import Answer, OneByOne, Stopped
from molmo_ros.grounding.capture import Capture, TargetFrame
from molmo_ros.grounding.frame import Frame
from molmo_ros.pointing import ImagePoint
from molmo_ros.spatial import CameraModel
from molmo_ros.viewing.page import PageSettings, served
from molmo_ros.viewing.views import View

# A real browser drives the page where there is one; what it does is tested without one as well.
HAS_BROWSER = bool(shutil.which('chromium') and shutil.which('chromedriver'))
collect_ignore = [] if HAS_BROWSER else ['test_browser.py']

WIDTH, HEIGHT, FOCAL = 200, 150, 180.0
SLAB = (70, 50, 96, 76)  # pixels: left, top, right, bottom
NEAR, FAR = 1.0, 1.1  # metres


def pytest_report_header():
    left_out = 'tests/viewing/test_browser.py is left out: chromium and chromium-driver are missing'
    return None if HAS_BROWSER else left_out


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, 'it never happened'
        time.sleep(0.01)
    return found


class ScriptedEngine:
    """'at U V [at U V ...]' points there; 'wait' answers once it is stopped; else nothing."""

    def answer(self, image, question, should_stop):
        verb, *words = question.query.split()
        if verb == 'wait':
            while not should_stop():
                time.sleep(0.005)
            raise Stopped('stopped')
        numbers = [float(word) for word in words if word != 'at'] if verb == 'at' else []
        points = tuple(
            ImagePoint(u, v, f'<b>thing</b> {u:g}', 0.75)
            for u, v in zip(numbers[::2], numbers[1::2], strict=True)
        )
        return Answer('said so', points, None, not points, 1, {'decode': 0.25}, presence=0.5)

    def close(self):
        pass


class SlabFeed:
    """A camera over a slab on a table; 'base' is 2 m aside. Each view is a new one."""

    counts, frame = False, ''

    def __init__(self, lasts=np.inf, noise=0):
        self.lasts, self.noise, self.closed = lasts, noise, False
        depth = np.full((HEIGHT, WIDTH), FAR, np.float32)
        left, top, right, bottom = SLAB
        depth[top:bottom, left:right] = NEAR
        self.depth = depth
        K = np.array([[FOCAL, 0, WIDTH / 2 - 0.5], [0, FOCAL, HEIGHT / 2 - 0.5], [0, 0, 1.0]])
        self.camera = CameraModel(WIDTH, HEIGHT, K)
        self.taken = 0

    def take(self, at, frame):
        self.taken += 1
        color = np.full((HEIGHT, WIDTH, 3), 30 + self.taken % 200, np.uint8)
        seen = Frame(color, self.depth.copy(), self.camera, self.taken, 'optical')
        T = np.eye(4)
        if frame == 'base':
            T[:3, 3] = 2.0, 0.0, 0.0
        return View(Capture(seen), TargetFrame(T), frame, {'base': T @ BASE}, f'at {at:g} s')

    def close(self):
        self.closed = True


BASE = np.eye(4)
BASE[0, 3] = -2.0


@pytest.fixture
def open_page():
    """Serves a page about cameras by name; returns it and its address."""
    with ExitStack() as stack:

        def serve(cameras=None, engine=ScriptedEngine, **settings):
            cameras = cameras or {'slab': SlabFeed}
            wanted = PageSettings(port=0, rate=20.0, **settings)
            return stack.enter_context(served(cameras, lambda told: OneByOne(engine()), wanted))

        yield serve


INPUTS = {f'Gui{name}Message' for name in ('Text', 'Dropdown', 'Checkbox', 'Slider', 'ButtonGroup')}


class Browser:
    """Speaks viser's protocol, and keeps what a browser would show."""

    def __init__(self, address, **arguments):
        self.gui, self.scene, self._closing = {}, {}, False
        self.clouds = 0
        self._socket = connect(
            address.replace('http', 'ws'),
            subprotocols=[f'viser-v{viser.__version__}'],
            max_size=None,
            **arguments,
        )
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()
        pose = {'wxyz': (1, 0, 0, 0), 'position': (0, 0, 0), 'look_at': (0, 0, 1)}
        lens = {'fov': 1.0, 'near': 0.1, 'far': 10.0, 'image_height': 600, 'image_width': 800}
        self.send('ViewerCameraMessage', up_direction=(0, -1, 0), **pose, **lens)

    def send(self, kind, **fields):
        self._socket.send(msgspec.msgpack.encode({'type': kind, **fields}))

    def set(self, label, value):
        self.send('GuiUpdateMessage', uuid=self.labelled(label)['uuid'], updates={'value': value})

    def click(self, label):
        uuid = self.labelled(label, 'GuiButtonMessage')['uuid']
        self.send('GuiUpdateMessage', uuid=uuid, updates={'value': True})

    def point_at(self, origin, direction):
        self.send(
            'ScenePointerMessage',
            event_type='click',
            ray_origin=tuple(map(float, origin)),
            ray_direction=tuple(map(float, direction)),
            screen_pos=((0.5, 0.5),),
            modifier=None,
        )

    def ask(self, query):
        """Type it, and Enter."""
        self.set('Ask', f'{query}\n')

    def is_answered(self, query):
        """Ask, and wait until all of the answer is there."""
        self.ask(query)
        self.sees(f'<b>{query}</b>')
        wait_for(lambda: not self.labelled('Stop', 'GuiButtonMessage')['visible'])

    def labelled(self, label, kind=''):
        """What has that label; without a kind, what has a value."""

        def found():
            for one in [*self.gui.values()]:
                fits = one['kind'] == kind if kind else one['kind'] in INPUTS
                if one['label'] == label and fits:
                    return one
            return None

        return wait_for(found)

    @property
    def told(self):
        """All texts of the panel."""
        return '\n'.join(g['content'] for g in [*self.gui.values()] if g['content'])

    @property
    def asked_picture(self):
        """The picture of the answer, which stands above that of the camera."""
        images = [g for g in [*self.gui.values()] if g['kind'] == 'GuiImageMessage']
        return min(images, key=lambda image: image['order'])

    def sees(self, text):
        wait_for(lambda: text in self.told)

    def close(self):
        self._closing = True
        self._socket.close()

    def _hear(self):
        try:
            for data in self._socket:
                for message in _messages(data):
                    self._take(message)
        except ConnectionClosed:
            pass

    def _take(self, message):
        kind, uuid, name = (message.get(key) for key in ('type', 'uuid', 'name'))
        if kind == 'GuiUpdateMessage':
            self.gui.get(uuid, {}).update(message['updates'])
        elif kind.startswith('Gui') and uuid and 'props' in message:
            blank = {
                'kind': kind,
                'label': None,
                'content': '',
                'value': message.get('value'),
                'uuid': uuid,
            }
            self.gui[uuid] = {**blank, **message['props']}
        elif kind == 'SceneNodeUpdateMessage':
            self.clouds += name == '/cloud' and 'colors' in message['updates']
            self.scene.get(name, {}).update(message['updates'])
        elif kind == 'SetPositionMessage':
            self.scene.setdefault(name, {})['position'] = message['position']
        elif kind == 'SetSceneNodeVisibilityMessage':
            self.scene.setdefault(name, {})['visible'] = message['visible']
        elif kind == 'RemoveSceneNodeMessage':
            for node in [n for n in self.scene if n == name or n.startswith(f'{name}/')]:
                del self.scene[node]
        elif name and 'props' in message:
            self.scene.setdefault(name, {}).update(message['props'])


def _messages(data):
    """Of one frame of the websocket: messages, with arrays as they came."""
    size, packed = (int.from_bytes(data[i : i + 8], 'little') for i in (0, 8))
    inner = zstandard.decompress(data[16 : 16 + packed], max_output_size=size)
    content = msgspec.msgpack.decode(inner)
    at, buffers = 16 + packed, []
    for length in content['binaryBufferLengths']:
        at += -at % 8
        buffers.append(data[at : at + length])
        at += length

    def whole(value):
        if isinstance(value, dict):
            if '__binary_index' in value:
                return np.frombuffer(buffers[value['__binary_index']], value['dtype'])
            return {key: whole(item) for key, item in value.items()}
        return value

    return [whole(message) for message in content['messages']]


@pytest.fixture
def browse():
    """Opens browsers without a window."""
    with ExitStack() as stack:

        def start(address, **arguments):
            browser = Browser(address, **arguments)
            stack.callback(browser.close)
            return browser

        yield start
