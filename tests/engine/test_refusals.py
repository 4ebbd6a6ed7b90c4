# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What cannot be answered is refused in words, at once, and leaves the engine as it was."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest

from benchmarks.random_molmo import LIST
from molmo_ros.engine import (
    EngineError,
    InvalidImage,
    InvalidQuestion,
    Question,
    Stopped,
    load_engine,
)
from molmo_ros.engine.local import LocalEngine
from molmo_ros.model.loading import load_molmo

MUG = Question('mug')


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((8, 90, 3), np.uint8),
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((90, 120), np.uint8),
        np.zeros((90, 120, 4), np.uint8),
        np.zeros((90, 120, 3), np.float32),
        np.broadcast_to(np.zeros(3, np.uint8), (9000, 9000, 3)),
    ],
    ids=['small', 'empty', 'grey', 'four channels', 'float', 'huge'],
)
def test_an_image_that_will_not_do_is_refused(engine, image):
    with pytest.raises(InvalidImage, match='image'):
        engine.answer(image, MUG)


def test_extreme_but_valid_images_are_answered(engine):
    for shape in ((16, 16, 3), (16, 3000, 3), (1500, 20, 3)):
        assert engine.answer(np.zeros(shape, np.uint8), MUG).points


@pytest.mark.parametrize('query', ['', ' \n', 'mug ' * 500])
def test_a_question_that_will_not_do_is_refused(engine, images, query):
    with pytest.raises(InvalidQuestion):
        engine.answer(images(0), Question(query))
    with pytest.raises(InvalidQuestion):
        engine.answer_many(images(0), [MUG, Question(query)])
    assert engine.answer(images(0), MUG).points


def test_no_question_and_too_many_are_refused(engine, images):
    for questions in ([], [MUG] * 1000):
        with pytest.raises(InvalidQuestion):
            engine.answer_many(images(0), questions)


def test_a_stopped_question_makes_no_further_pass_and_leaves_nothing_behind(checkpoint, images):
    engine = load_engine(checkpoint(pieces=LIST))
    whole = engine.answer(images(0), Question('mug', max_points=3))
    held = engine.held_bytes
    asked = 0

    def stop_at(limit):
        def should_stop():
            nonlocal asked
            asked += 1
            return asked > limit

        return should_stop

    for limit in range(5):
        asked = 0
        with pytest.raises(Stopped):
            engine.answer(images(0), Question('a cup', max_points=3), stop_at(limit))
        assert asked == limit + 1
    assert engine.held_bytes == held
    again = engine.answer(images(0), Question('mug', max_points=3))
    assert again.tokens == whole.tokens


def test_a_question_stopped_while_its_frame_was_new_can_be_asked_again(engine, images):
    for limit in range(3):
        calls = iter(range(10))
        with pytest.raises(Stopped):
            engine.answer(images(7), MUG, lambda calls=calls, limit=limit: next(calls) >= limit)
    assert engine.answer(images(7), MUG).points


def test_a_question_stops_while_it_waits_its_turn(engine, images):
    started, leave = threading.Event(), threading.Event()

    def slow():
        started.set()
        leave.wait(10)
        return False

    other = threading.Thread(target=lambda: engine.answer(images(0), MUG, slow))
    other.start()
    started.wait(10)
    begin = time.monotonic()
    with pytest.raises(Stopped):
        engine.answer(images(1), MUG, lambda: time.monotonic() > begin + 0.05)
    assert other.is_alive()
    leave.set()
    other.join(10)


def test_a_closed_engine_says_so(checkpoint, images):
    engine = load_engine(checkpoint())
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match='closed'):
        engine.answer(images(0), MUG)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(EngineError):
        load_engine(tmp_path)


def test_a_closed_engine_holds_no_weights(checkpoint):
    """Nor do circles of references: a node that is cleaned up gives its GPU's memory back."""
    loaded = load_molmo(checkpoint())
    weights = [weakref.ref(weight) for weight in loaded.model.parameters()]
    engine = LocalEngine(loaded)
    del loaded
    engine.answer(np.zeros((40, 60, 3), np.uint8), MUG)
    gc.disable()
    try:
        engine.close()
        assert weights and not any(weight() is not None for weight in weights)
    finally:
        gc.enable()
