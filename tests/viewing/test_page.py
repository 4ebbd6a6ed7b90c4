# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one sees and does on the page, over its own websocket, without a browser that draws."""

import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

from molmo_ros.errors import UserError
from molmo_ros.viewing.page import PageSettings, served
from molmo_ros.viewing.session import Listener, Session

from .conftest import FAR, FOCAL, HEIGHT, NEAR, WIDTH, ScriptedEngine, SlabFeed, wait_for


def on_slab(u, v, depth=NEAR):
    """Where a pixel's surface is, of pixels whose corner is 0, 0."""
    return np.array([(u - WIDTH / 2) / FOCAL * depth, (v - HEIGHT / 2) / FOCAL * depth, depth])


BASE_ASIDE = np.array([2.0, 0.0, 0.0])


def point_of(browser, number=1):
    return np.array(browser.scene[f'/answer/points/{number}']['position'])


def test_a_question_is_answered_in_every_browser(open_page, browse):
    _, address = open_page()
    asking, watching = browse(address), browse(address)
    asking.ask('at 80 60 at 90.5 70')
    for browser in (asking, watching):
        browser.sees('said so')
        for words in ('SUCCESS', 'count 2', 'presence 0.50', '250.0', '-0.111 -0.083 +1.000'):
            browser.sees(words)
        # What a model wrote is text.
        assert '&lt;b&gt;thing&lt;/b&gt; 80' in browser.told and '<b>thing' not in browser.told
        wait_for(lambda browser=browser: '/answer/grippers/2' in browser.scene)
        np.testing.assert_allclose(point_of(browser), on_slab(80, 60), atol=1e-3)
        assert {'/answer/normals/1', '/answer/boxes/1'} <= browser.scene.keys()
    assert asking.labelled('Ask')['value'] == ''


def test_the_cloud_follows_the_camera_at_full_measure(open_page, browse):
    """Its points are where the depth says, and no more than one wants."""
    _, address = open_page(cloud_points=WIDTH * HEIGHT // 4)
    browser = browse(address)
    wait_for(lambda: browser.clouds > 3)
    cloud = browser.scene['/cloud']
    xyz = np.reshape(cloud['points'], (-1, 3)).astype(float) + cloud['position']
    assert 0.9 < len(xyz) / (WIDTH * HEIGHT / 4) <= 1.0
    depths = np.unique(np.round(xyz[:, 2], 2))
    np.testing.assert_allclose(depths, [NEAR, FAR], atol=0.011)
    assert xyz[:, 0].min() == pytest.approx(-0.5 * WIDTH / FOCAL * FAR, abs=0.02)


def test_a_click_on_the_cloud_needs_no_model(open_page, browse):
    _, address = open_page()
    browser = browse(address)
    wait_for(lambda: browser.clouds)
    beside = np.array([0.3, 0.2, -0.2])  # seen from elsewhere than the camera
    target = on_slab(78, 58)
    browser.point_at(beside, target - beside)
    browser.sees('click at')
    wait_for(lambda: '/answer/points/1' in browser.scene)
    np.testing.assert_allclose(point_of(browser), target, atol=0.006)
    assert not browser.labelled('The same by ROS', 'GuiFolderMessage')['visible']


def test_a_click_on_the_picture_means_its_pixel(open_page, browse):
    _, address = open_page()
    browser = browse(address)
    wait_for(lambda: browser.clouds)
    browser.set('Show the', 'picture')
    wait_for(lambda: browser.scene.get('/picture', {}).get('render_width'))
    picture = browser.scene['/picture']
    away = picture['position'][2]
    scale = picture['render_width'] / WIDTH
    pixel = np.array([(150 - WIDTH / 2) * scale, (120 - HEIGHT / 2) * scale, away])
    browser.point_at((0, 0, 0), pixel)
    browser.sees('150.0, 120.0')
    browser.sees('+0.306 +0.275 +1.100')


def test_another_frame_moves_all_of_it(open_page, browse):
    _, address = open_page()
    browser = browse(address)
    browser.is_answered('at 80 60')
    assert '/answer/points/1' in browser.scene
    browser.set('Frame', 'base')
    # An answer that was told in another frame would stand in a wrong place.
    wait_for(lambda: '/answer/points/1' not in browser.scene)
    browser.ask('at 80 60')
    wait_for(lambda: '/answer/points/1' in browser.scene)
    np.testing.assert_allclose(point_of(browser), on_slab(80, 60) + BASE_ASIDE, atol=1e-3)
    wait_for(lambda: browser.scene['/cloud']['position'][0] > 1.9)


def test_a_question_can_be_stopped_and_another_asked(open_page, browse):
    _, address = open_page()
    browser = browse(address)
    browser.ask('wait')
    wait_for(lambda: browser.labelled('Stop', 'GuiButtonMessage')['visible'])
    browser.ask('at 20 20')
    browser.sees('a question is being answered')
    browser.click('Stop')
    browser.sees('stopped')
    browser.ask('at 20 20')
    browser.sees('20.0, 20.0')
    assert 'stopped' not in browser.told


@pytest.mark.parametrize('query, told', [(' ', 'the query is empty'), ('m' * 2001, '2000 char')])
def test_what_is_no_question_is_refused_in_a_sentence(query, told, open_page, browse):
    _, address = open_page()
    browser = browse(address)
    browser.ask(query)
    browser.sees(told)


def test_a_camera_that_cannot_be_opened_leaves_the_page_alive(open_page, browse):
    first = SlabFeed()

    def gone():
        raise UserError('there is no webcam 7')

    _, address = open_page({'slab': lambda: first, 'gone': gone})
    browser = browse(address)
    wait_for(lambda: first.taken)
    browser.set('Camera', 'gone')
    browser.sees('there is no webcam 7')
    assert first.closed
    browser.ask('at 20 20')
    browser.set('Camera', 'slab')
    wait_for(lambda: 'there is no' not in browser.told)
    browser.ask('at 20 20')
    browser.sees('20.0, 20.0')


def test_a_recording_stays_at_the_picture_of_its_answer(open_page, browse):
    recording = SlabFeed(lasts=30.0)
    _, address = open_page({'bag': lambda: recording})
    browser = browse(address)
    wait_for(lambda: recording.taken > 2)
    browser.ask('at 80 60')
    browser.sees('SUCCESS')
    wait_for(lambda: not browser.labelled('Live')['value'])
    at = browser.labelled('At (s)')['value']
    assert '/answer/points/1' in browser.scene and at > 0
    browser.set('At (s)', 12.5)
    browser.sees('at 12.5 s')
    wait_for(lambda: '/answer/points/1' not in browser.scene)


def test_who_goes_on_is_not_taken_back_by_the_rest_of_an_answer(open_page, browse):
    """Its points are shown at once; what they are on is measured for seconds more."""
    recording = SlabFeed(lasts=30.0)
    _, address = open_page({'bag': lambda: recording})
    browser = browse(address)
    many = ' '.join(f'at {60 + n} {50 + n % 20}' for n in range(60))
    browser.ask(many)
    browser.sees('SUCCESS')
    browser.set('At (s)', 21.5)
    browser.sees('at 21.5 s')
    wait_for(lambda: not browser.labelled('Stop', 'GuiButtonMessage')['visible'])
    browser.ask(' ')  # a mark in the order of things: all that came before is shown
    browser.sees('the query is empty')
    assert 'at 21.5 s' in browser.told and '/answer/points/1' not in browser.scene


def test_who_looks_at_an_earlier_answer_keeps_it(open_page, browse):
    _, address = open_page()
    browser = browse(address)
    browser.is_answered('at 30 30')
    many = ' '.join(f'at {60 + n} {50 + n % 20}' for n in range(60))
    browser.ask(many)
    browser.sees('<b>at 60 50')
    (first,) = (o for o in browser.labelled('Answer')['options'] if 'at 30 30' in o)
    browser.set('Answer', first)
    browser.sees('<b>at 30 30</b>')
    wait_for(lambda: not browser.labelled('Stop', 'GuiButtonMessage')['visible'])
    browser.ask(' ')  # a mark in the order of things: all that came before is shown
    browser.sees('the query is empty')
    assert '<b>at 30 30</b>' in browser.told and '<b>at 60 50' not in browser.told


class Gated(SlabFeed):
    """Its third view takes until the gate opens."""

    def __init__(self):
        super().__init__(lasts=30.0)
        self.begun, self.gate = threading.Event(), threading.Event()

    def take(self, at, frame):
        if self.taken == 2:
            self.begun.set()
            assert self.gate.wait(60)
        return super().take(at, frame)


def test_a_view_that_was_on_its_way_does_not_replace_the_one_held():
    """Else the picture of an answer is gone as soon as it is there."""
    feed, seen = Gated(), []

    class Listening(Listener):
        def on_camera(self, name, feed): ...
        def on_at(self, at): ...
        def on_answer(self, shown, number, kept): ...
        def on_state(self, text, busy): ...

        def on_view(self, view):
            seen.append(view.about)

    session = Session({'bag': lambda: feed}, None, Listening(), rate=50.0)
    session.start()
    assert feed.begun.wait(60)
    held = session.view
    session.hold(held)
    feed.gate.set()
    session.seek(21.5)
    wait_for(lambda: 'at 21.5 s' in seen)
    session.close()
    assert seen == ['at 0 s', held.about, 'at 21.5 s']


def test_an_earlier_answer_comes_back_with_its_picture(open_page, browse):
    _, address = open_page()
    browser = browse(address)
    for query in ('at 80 60', 'at 30 30'):
        browser.is_answered(query)
    (first,) = (o for o in browser.labelled('Answer')['options'] if 'at 80 60' in o)
    browser.set('Answer', first)
    browser.sees('<b>at 80 60</b>')
    np.testing.assert_allclose(point_of(browser), on_slab(80, 60), atol=1e-3)
    wait_for(lambda: not browser.labelled('Live')['value'])


def test_layers_can_be_left_out(open_page, browse):
    _, address = open_page()
    browser = browse(address)
    browser.ask('at 80 60')
    wait_for(lambda: '/answer/boxes/1' in browser.scene)
    for layer in ('Normals', 'Boxes', 'Grippers', 'Frames'):
        browser.set(layer, False)
    wait_for(lambda: browser.scene.get('/answer/grippers', {}).get('visible') is False)
    wait_for(lambda: '/frames/base' not in browser.scene)


class Believing(ScriptedEngine):
    """As sure of the lower right quarter of the picture as can be, wherever it points."""

    def answer(self, image, question, should_stop):
        answer = super().answer(image, question, should_stop)
        heat = np.array([[0, 0], [0, 0.5]], np.float32) if answer.points else None
        return replace(answer, heat=heat)


def corners(image):
    """Brightness of the upper left and the lower right of what a browser was sent."""
    pixels = cv2.imdecode(np.frombuffer(image['_data'], np.uint8), cv2.IMREAD_GRAYSCALE)
    return float(pixels[5, 5]), float(pixels[-6, -6])


def test_the_picture_can_be_seen_under_the_heat_of_its_answer(open_page, browse):
    _, address = open_page(engine=Believing)
    browser, watching = browse(address), browse(address)
    assert browser.labelled('Heat')['disabled']
    browser.sees('only a MolmoPoint')
    browser.set('Show the', 'picture')
    browser.is_answered('at 80 60')
    assert not browser.labelled('Heat')['disabled'] and not browser.labelled('Heat')['value']
    for seen in (browser, watching):
        wait_for(lambda seen=seen: '_data' in seen.scene.get('/picture', {}))
        for image in (seen.asked_picture, seen.scene['/picture']):
            cold, hot = corners(image)
            assert cold == pytest.approx(hot, abs=3)
    browser.set('Heat', True)
    for seen in (browser, watching):
        wait_for(lambda seen=seen: np.diff(corners(seen.asked_picture)) > 100)
        wait_for(lambda seen=seen: np.diff(corners(seen.scene['/picture'])) > 100)
    # What is wished stays wished, and nothing of the last answer lies over one without.
    browser.is_answered('no such thing')
    assert browser.labelled('Heat')['disabled']
    wait_for(lambda: abs(np.diff(corners(browser.asked_picture))) < 3)
    wait_for(lambda: abs(np.diff(corners(browser.scene['/picture']))) < 3)
    browser.is_answered('at 30 30')
    wait_for(lambda: np.diff(corners(browser.asked_picture)) > 100)
    browser.set('Heat', False)
    wait_for(lambda: abs(np.diff(corners(browser.asked_picture))) < 3)


def test_the_page_ends_with_browsers_on_it(open_page, browse):
    feed = SlabFeed()
    page, address = open_page({'slab': lambda: feed})
    browser = browse(address)
    browser.ask('wait')
    wait_for(lambda: browser.labelled('Stop', 'GuiButtonMessage')['visible'])
    page.session.close()
    assert feed.closed


def test_what_is_still_told_when_the_page_has_ended_fails_nowhere():
    """An answer that comes as somebody presses Ctrl-C: a traceback of asyncio's."""
    with served({'slab': SlabFeed}, None, PageSettings(port=0)) as (page, _):
        view = wait_for(lambda: page.session.view)
    page.on_at(0.5)
    page.on_view(view)
