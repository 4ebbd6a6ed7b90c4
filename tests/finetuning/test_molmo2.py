# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Molmo2 is taught through transformers' own classes, and answers with what it was taught."""

import json

import numpy as np
import pytest
import torch
from peft import PeftModel

from benchmarks.random_molmo2 import write_checkpoint
from molmo_ros.cli import main
from molmo_ros.engine import Question, load_engine
from molmo_ros.finetuning.exchanges import Exchange
from molmo_ros.finetuning.finetune_settings import FinetuneSettings
from molmo_ros.finetuning.packed_exchanges import answer_logits, pack
from molmo_ros.finetuning.pupils import MOLMO2_LAYERS, pupil_of
from molmo_ros.finetuning.training import finetune
from molmo_ros.model.molmo2 import load_molmo2
from molmo_ros.model.options import LoadOptions

from .test_finetuning import losses

SETTINGS = FinetuneSettings(
    steps=150,
    images=1,
    questions=2,
    rank=8,
    learning_rate=0.008,
    rehearsal=0.0,
    zoom=0.0,
    mirror=False,
)


# Of what it is taught to write, each a token as in the releases: letter by letter it would have to
# learn from all that was written what follows an n.
WORDS = (
    *('This ', "isn't ", 'in ', 'the ', 'image.'),
    *('Counting ', 'shows ', 'a ', 'total ', 'of '),
)


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    """Random weights: it points at nothing."""
    folder = tmp_path_factory.mktemp('molmo2')
    write_checkpoint(folder, words=WORDS)
    return folder


def answers(pictures, *where, **options):
    engine = load_engine(*where, **options)
    found = [engine.answer(picture, Question('stapler')) for picture in pictures]
    engine.close()
    return found


def test_it_learns_to_point_and_merged_it_writes_the_same(base, folder, picture, tmp_path):
    line = json.dumps({'image': 'a.png', 'label': 'stapler', 'points': [[37.44, 41.04]]})
    absent = json.dumps({'image': 'b.png', 'label': 'stapler', 'points': []})
    (folder / 'points.jsonl').write_text(f'{line}\n{absent}\n')
    out, pictures = tmp_path / 'adapter', (picture, 255 - picture)
    assert finetune(folder, base, out, SETTINGS).finished
    loss = losses(out)
    assert np.mean(loss[-10:]) < 0.05 * np.mean(loss[:10])
    there, not_there = answers(pictures, base, adapter=out)
    (point,) = there.points
    assert (point.u, point.v) == (pytest.approx(37.44), pytest.approx(41.04))
    assert point.label == 'stapler'
    assert not_there.absent
    before = answers(pictures, base)
    assert [one.text for one in before] != [there.text, not_there.text]
    merged = tmp_path / 'merged'
    words = ['finetune', 'merge', out, '--checkpoint', base, '--out', merged]
    assert main([*map(str, words)]) == 0
    assert [one.tokens for one in answers(pictures, merged)] == [there.tokens, not_there.tokens]
    # The adapter is in it already.
    words = ['ask', folder / 'images/a.png', 'stapler', '--checkpoint', merged, '--adapter', out]
    assert main([*map(str, words)]) == 2


@torch.inference_mode()
def logits(loaded, picture, exchanges):
    pupil = pupil_of(loaded)
    packed = pack(exchanges, pupil.tokenizer, pupil.end)
    return answer_logits(pupil, pupil.see(picture), packed)


def test_what_is_added_is_what_peft_computes_and_questions_do_not_see_each_other(
    base, folder, picture, tmp_path
):
    out = tmp_path / 'adapter'
    targets = tuple(MOLMO2_LAYERS)
    finetune(folder, base, out, FinetuneSettings(steps=4, rehearsal=0.0, targets=targets))
    exchanges = [
        Exchange('Point to the mug', 'There are none.'),
        Exchange('Locate the stapler.', '<points coords="1 1 250 500">stapler</points>'),
    ]
    added = load_molmo2(base, LoadOptions(adapter=out))
    together = logits(added, picture, exchanges)
    alone = torch.cat([logits(added, picture, [exchange]) for exchange in exchanges])
    assert torch.allclose(together, alone, atol=1e-4)
    plain = load_molmo2(base)
    untouched = logits(plain, picture, exchanges)
    wrapped = PeftModel.from_pretrained(plain.model, out)
    assert torch.allclose(logits(plain, picture, exchanges), together, atol=1e-4)
    assert (together - untouched).abs().max() > 0.01
    changed = [name for name, _ in wrapped.named_modules() if name.endswith('lora_A.default')]
    parts = ('language_model.layers', 'multi_modal_projector', 'vision_tower.layers')
    assert [sum(part in name for name in changed) for part in parts] == [2 * 7, 7, 3 * 6]
