# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Saying by clicks where things are, and learning from what was said."""

import json
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from benchmarks.random_molmo import (
    ONE_POINT,
    random_molmo,
    save_checkpoint,
    tilt,
    tiny_config,
    tiny_tokenizer,
)
from molmo_ros.cameras.files import write_color
from molmo_ros.cli import main
from molmo_ros.engine import Answer, OneByOne
from molmo_ros.pointing import ImagePoint
from molmo_ros.viewing.labelling.book import LabelBook
from molmo_ros.viewing.labelling.page import served

from .conftest import wait_for

WIDTH, HEIGHT = 80, 60
NUMBER = 6


class Pointer:
    """Points at 20, 30 and 50, 10, whatever it is asked."""

    def answer(self, image, question, should_stop):
        points = tuple(ImagePoint(u, v, question.query) for u, v in ((20, 30), (50, 10)))
        return Answer('two', points, None, False)

    def close(self):
        pass


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / 'parts'
    (folder / 'images/more').mkdir(parents=True)
    for number in range(NUMBER):
        picture = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        name = f'{number}.png' if number else 'more/photo.png'
        write_color(folder / 'images' / name, picture)
    return folder


@contextmanager
def page_of(folder, browse, label='gear'):
    book = LabelBook(folder)
    with served(book, lambda told: OneByOne(Pointer()), port=0, label=label) as (_, address):
        browser = browse(address)
        browser.sees('of 6)')
        yield browser
        browser.close()


def test_a_label_can_be_typed_while_the_model_is_loading(folder, browse):
    """What is told of the loading must not set the box back to what was in it before."""
    typed = threading.Event()

    def open_engine(told):
        share = 0.0
        while not typed.wait(0.002):
            share += (1 - share) / 100
            told('loading', share)
        return OneByOne(Pointer())

    book = LabelBook(folder)
    with served(book, open_engine, port=0, label='bolt') as (_, address):
        browser = browse(address)
        browser.sees('of 6)')
        browser.click('Ask the model')
        browser.sees('the model: loading')
        box = browser.labelled('Label')
        box['value'] = 'as typed'  # until the page writes into it
        word = ''
        for letter in 'the smallest of all gear wheels in the upper box':
            word += letter
            browser.set('Label', word)
            time.sleep(0.005)
        browser.sees(f'{word}: 0 points')
        typed.set()
        wait_for(lambda: not browser.labelled('Stop', 'GuiButtonMessage')['visible'])
        assert box['value'] == 'as typed'


def click(browser, u, v):
    browser.point_at((0, 0, -1), (u / WIDTH - 0.5, (v - 0.5 * HEIGHT) / WIDTH, 1))


def lines(folder):
    return [json.loads(line) for line in (folder / 'points.jsonl').read_text().splitlines()]


def state(browser, *texts):
    wait_for(lambda: all(text in browser.told for text in texts))


def test_the_model_proposes_a_click_corrects_and_both_teach_and_measure(
    folder, browse, tmp_path, capsys
):
    with page_of(folder, browse) as browser:
        state(browser, '<b>1.png</b> (1 of 6)', 'nothing is said yet')
        browser.click('Ask the model')
        state(browser, 'gear: 2 points, not kept yet', 'the model points at 2')
        browser.set('A click', 'moves')
        state(browser, 'moves the nearest')
        click(browser, 24, 33)
        browser.set('A click', 'removes')
        state(browser, 'removes the nearest')
        click(browser, 47, 12)
        state(browser, 'gear: 1 point, not kept yet')
        browser.set('A click', 'adds')
        state(browser, 'adds a point')
        click(browser, 70, 50.5)
        state(browser, 'gear: 2 points, not kept yet')
        assert not (folder / 'points.jsonl').exists()
        browser.click('Keep, next picture')
        state(browser, '<b>2.png</b>', 'kept for 1.png: 2 points')
        assert lines(folder) == [
            {'image': '1.png', 'label': 'gear', 'points': [[24.0, 33.0], [70.0, 50.5]]}
        ]
        for name in ('3.png', '4.png', '5.png', 'more/photo.png'):
            click(browser, 10, 20)
            state(browser, 'gear: 1 point, not kept yet')
            browser.click('Keep, next picture')
            state(browser, f'<b>{name}</b>')
        browser.click('Keep, next picture')
        state(browser, 'that there is none. It was the last one', 'gear: in 6 of 6 pictures')
        # Another label of the same picture, which two browsers would see.
        browser.set('Label', 'bolt')
        state(browser, 'bolt: 0 points, nothing is said yet')
    written = lines(folder)
    assert len(written) == 6 and written[-1]['points'] == []
    assert written[-1]['image'] == 'more/photo.png'
    base, out = tmp_path / 'base', tmp_path / 'gears'
    tokenizer, model = tiny_tokenizer(1), random_molmo(tiny_config('qwen2'), 0)
    tilt(model, tokenizer, [ONE_POINT], noise=0.1)
    save_checkpoint(model, tokenizer, base)
    words = ['finetune', folder, '--checkpoint', base, '--out', out, '--steps', 2, '--images', 1]
    assert main([*map(str, words), '--questions', '2', '--rehearsal', '0']) == 0
    assert '1 picture that it was not taught from' in capsys.readouterr().err
    words = ['eval', 'pictures', folder, '--checkpoint', base, '--adapter', out, '--json']
    assert main([*map(str, words)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['questions'] == 6 and report['topics']['absent']['n'] == 1
    assert report['warnings'][0].startswith('5 of 6')


def test_what_was_written_comes_back_and_what_is_wrong_is_told(folder, browse):
    line = '{"image": "2.png", "label": "gear", "points": [[3.25, 4], [5, 6]]}'
    other = '{"image": "1.png", "label": "bolt", "points": []}'
    (folder / 'points.jsonl').write_text(f'{line}\n{other}\n')
    with page_of(folder, browse) as browser:
        state(browser, '<b>1.png</b>', 'bolt (0)')
        browser.set('Picture', 2)
        state(browser, '<b>2.png</b>', 'gear: 2 points, kept')
        click(browser, 60, 40)
        state(browser, 'gear: 3 points, not kept')
        browser.set('Points', 'undo')
        state(browser, 'gear: 2 points, not kept')
        browser.set('Go to the', 'next one')
        state(browser, '<b>3.png</b>', 'what was not kept is dropped')
        # Somebody else writes meanwhile: nothing of it may be lost.
        (folder / 'points.jsonl').write_text(f'{line}\n')
        browser.click('Keep, next picture')
        state(browser, 'was changed by something else')
        assert lines(folder) == [json.loads(line)]


def test_a_folder_that_cannot_be_labelled_is_refused(tmp_path, folder, capsys):
    (tmp_path / 'empty/images').mkdir(parents=True)
    assert main(['label', str(tmp_path / 'empty')]) == 2
    assert 'has no pictures: put there' in capsys.readouterr().err
    (folder / 'points.jsonl').write_text('{"image": "2.png"}\nno\n')
    assert main(['label', str(folder)]) == 2
    assert '2 lines are wrong' in capsys.readouterr().err
