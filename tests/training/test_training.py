# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who retrains the demo model needs stages that learn, resume, and end in a folder that loads."""

import csv
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from molmo_ros.camera.tabletop import make_scene, render
from molmo_ros.engine import Question, load_engine
from molmo_ros.model.preprocessing import ImageTokens, preprocess
from molmo_ros.pointing import read_points
from training import pointing, seeing
from training.architecture import PREPROCESSOR
from training.crops import CROPS, make_batch
from training.export import export
from training.questions import Thing, make_example
from training.scenes import FIRST_SEED, load_scenes, render_shard
from training.vocabulary import build_tokenizer

SCENES = 24


@pytest.fixture(scope='module')
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('runs')
    (folder / 'scenes').mkdir()
    np.savez(folder / 'scenes/shard_00000.npz', **render_shard(FIRST_SEED, SCENES))
    build_tokenizer(folder / 'tokenizer')
    return folder


def losses(folder: Path) -> dict[int, float]:
    with (folder / 'log.csv').open() as file:
        return {int(row['step']): float(row['loss']) for row in csv.DictReader(file)}


def test_training_crops_are_what_the_released_preprocessing_makes(runs: Path) -> None:
    picture = render(make_scene(FIRST_SEED), 640, 480, smooth=True).color
    real = preprocess(picture, PREPROCESSOR, ImageTokens(1, 2, 3, 4))
    whole_and_parts = torch.arange(CROPS)
    batch = make_batch(
        load_scenes(runs / 'scenes'),
        torch.zeros(CROPS, dtype=torch.long),
        whole_and_parts,
        torch.zeros(CROPS, dtype=torch.bool),
        jitter=False,
    )
    # Rendered at half the size and rounded to bytes: alike on average, not pixel by pixel.
    assert (batch.patches - real.crops).abs().mean() < 0.02
    assert (real.crops.std() > 0.5) and real.crops.shape == batch.patches.shape


def test_every_answer_taught_reads_back_as_its_object() -> None:
    rng = random.Random(3)
    things = [Thing('mug', 'red', (12.3, 45.6)), Thing('bowl', 'red', (78.9, 9.9))]
    seen = set()
    for _ in range(200):
        example = make_example(things, rng)
        reading = read_points(example.answer, 100, 100)
        seen.add(example.thing)
        if example.thing is None:
            assert reading.absent and not reading.points
        else:
            point = reading.points[0]
            assert (point.u, point.v) == pytest.approx(things[example.thing].target)
    assert seen == {None, 0, 1}


def test_both_stages_learn_resume_and_export_a_folder_that_answers(
    runs: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    seeing.train(runs / 'seeing', runs / 'scenes', steps=2, batch_size=8)
    seeing.train(runs / 'seeing', runs / 'scenes', steps=25, batch_size=8)
    seen = losses(runs / 'seeing')
    assert set(seen) == {2, 25} and seen[25] < 0.9 * seen[2]

    stage = (runs / 'pointing', runs / 'scenes', runs / 'seeing', runs / 'tokenizer')
    pointing.train(*stage, steps=2, images=2, per_scene=2)
    pointing.train(*stage, steps=25, images=2, per_scene=2)
    told = losses(runs / 'pointing')
    assert set(told) == {2, 25} and told[25] < 0.9 * told[2]

    export(runs / 'pointing', runs / 'tokenizer', tmp_path / 'checkpoint')
    engine = load_engine(tmp_path / 'checkpoint', device='cpu')
    picture = render(make_scene(FIRST_SEED), 320, 240).color
    assert isinstance(engine.answer(picture, Question('the red mug')).text, str)
