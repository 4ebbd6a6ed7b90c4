# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Teaching a checkpoint: what is learnt, kept, resumed, and loaded beside it."""

import csv
import json
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from benchmarks.random_molmo import (
    ONE_POINT,
    random_molmo,
    save_checkpoint,
    tilt,
    tiny_config,
    tiny_tokenizer,
)
from molmo_ros.engine import Question, load_engine
from molmo_ros.finetuning.settings import Settings
from molmo_ros.finetuning.training import finetune
from molmo_ros.model.loading import load_molmo
from molmo_ros.model.options import LoadOptions
from molmo_ros.model.preprocessing import preprocess

FAMILIES = ('qwen2', 'olmo2', 'olmoe')
QUICK = Settings(
    steps=6, images=1, questions=2, rank=4, learning_rate=0.03, rehearsal=0.3, keep=('mug', 'spoon')
)
EVERYWHERE = ('decoder', 'connector', 'vision')


@pytest.fixture(scope='session', autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    """Makes a tiny checkpoint of a family, that points at the same spot, whatever it is asked."""

    def write(family, seed=0):
        folder = tmp_path_factory.mktemp(family)
        tokenizer = tiny_tokenizer(3 if family == 'olmo2' else 1)
        model = random_molmo(tiny_config(family), seed)
        tilt(model, tokenizer, [ONE_POINT], noise=0.1)
        save_checkpoint(model, tokenizer, folder)
        return folder

    return write


@pytest.fixture(scope='session')
def picture():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, picture):
    """Two pictures: a stapler in the middle of the first, none in the second."""
    folder = tmp_path / 'pictures'
    (folder / 'images').mkdir(parents=True)
    for name, image in (('a.png', picture), ('b.png', 255 - picture)):
        cv2.imwrite(str(folder / 'images' / name), image[..., ::-1])
    lines = [
        {'image': 'a.png', 'label': 'stapler', 'points': [[60, 45]]},
        {'image': 'b.png', 'label': 'stapler', 'points': []},
    ]
    (folder / 'points.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return folder


def losses(out):
    with (out / 'training/log.csv').open() as file:
        return [float(row['loss']) for row in csv.DictReader(file)]


@torch.inference_mode()
def logits_of(loaded, picture):
    """Of the last position of a picture and a question, through transformers' own classes."""
    model = loaded.model
    image = preprocess(picture, loaded.preprocessor, loaded.tokenizer.image)
    question = torch.tensor(loaded.tokenizer.encode_question('Point to the mug'))
    embeds = torch.cat(
        [model.embed_image(image, loaded.tokenizer.eos), model.embed(question)], dim=1
    )
    return model.lm_head(model.decode(embeds)[0, -1]).float()


@pytest.mark.parametrize('family', FAMILIES)
def test_what_the_engine_adds_is_what_peft_computes(family, checkpoint, folder, tmp_path, picture):
    base, out = checkpoint(family), tmp_path / 'adapter'
    settings = Settings(**{**vars(QUICK), 'steps': 2, 'targets': EVERYWHERE, 'rehearsal': 0.0})
    finetune(folder, base, out, settings)
    plain = load_molmo(base)
    untouched = logits_of(plain, picture)
    PeftModel.from_pretrained(plain.model, out)
    by_peft = logits_of(plain, picture)
    merged = logits_of(load_molmo(base, LoadOptions(adapter=out)), picture)
    assert (by_peft - untouched).abs().max() > 0.05
    assert torch.allclose(merged, by_peft, atol=1e-4)


def test_learning_lowers_the_loss_and_changes_answers(checkpoint, folder, tmp_path, picture):
    base, out = checkpoint('qwen2'), tmp_path / 'adapter'
    outcome = finetune(folder, base, out, Settings(**{**vars(QUICK), 'steps': 20}))
    told = losses(out)
    assert outcome.finished and len(told) == 20
    assert np.mean(told[-5:]) < 0.7 * np.mean(told[:5])
    kept = [json.loads(x) for x in (out / 'training/rehearsal.jsonl').read_text().splitlines()]
    assert kept and all('stapler' not in line['prompt'] for line in kept)
    answers = []
    for adapter in (None, out):
        engine = load_engine(base, adapter=adapter)
        answers.append(engine.answer(picture, Question('the stapler')).text)
        engine.close()
    assert answers[0] != answers[1]


def test_stopped_and_called_again_it_ends_where_it_would_have(checkpoint, folder, tmp_path):
    base = checkpoint('qwen2')
    asked = iter([False] * 3 + [True] * 9)
    settings = Settings(**{**vars(QUICK), 'rehearsal': 0.0})
    finetune(folder, base, tmp_path / 'whole', settings)
    stopped = finetune(folder, base, tmp_path / 'parts', settings, should_stop=lambda: next(asked))
    assert (stopped.step, stopped.finished) == (3, False)
    load_engine(base, adapter=tmp_path / 'parts').close()
    assert finetune(folder, base, tmp_path / 'parts', settings).finished
    whole, parts = (
        load_file(tmp_path / name / 'adapter_model.safetensors') for name in ('whole', 'parts')
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_going_on_with_other_settings_is_refused(checkpoint, folder, tmp_path):
    base, out = checkpoint('qwen2'), tmp_path / 'adapter'
    settings = Settings(**{**vars(QUICK), 'steps': 1, 'rehearsal': 0.0})
    finetune(folder, base, out, settings)
    with pytest.raises(ValueError, match='other values of rank'):
        finetune(folder, base, out, Settings(**{**vars(settings), 'rank': 8}))
