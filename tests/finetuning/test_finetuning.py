# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Teaching a checkpoint: what is learnt, what is kept, and what a stop costs."""

import csv
import json
import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from molmo_ros.cli import main
from molmo_ros.engine import Question, load_engine
from molmo_ros.evaluation.predictions import read_predictions
from molmo_ros.finetuning.exchanges import Exchange
from molmo_ros.finetuning.finetune_settings import FinetuneSettings
from molmo_ros.finetuning.lora import add_lora, recompute_layers
from molmo_ros.finetuning.packed_exchanges import answer_logits, pack
from molmo_ros.finetuning.pupils import LAYERS, pupil_of
from molmo_ros.finetuning.training import finetune
from molmo_ros.model.adapter import WEIGHTS
from molmo_ros.model.loading import load_molmo

QUICK = FinetuneSettings(
    steps=20,
    images=1,
    questions=2,
    rank=4,
    learning_rate=0.03,
    rehearsal=0.3,
    zoom=0.0,
    keep=('the mug', 'How many spoons are there?', 'the red stapler'),
)


def losses(out):
    with (out / 'training/log.csv').open() as file:
        return [float(row['loss']) for row in csv.DictReader(file)]


def answers(base, pictures, adapter=None):
    engine = load_engine(base, adapter=adapter)
    texts = [engine.answer(picture, Question('the stapler')).text for picture in pictures]
    engine.close()
    return texts


def test_learning_lowers_the_loss_and_changes_answers(checkpoint, folder, tmp_path, picture):
    base, out = checkpoint(), tmp_path / 'adapter'
    told = []
    settings = replace(QUICK, steps=30, rehearsal=0.0)
    assert finetune(folder, base, out, settings, on_progress=told.append).finished
    assert {progress.stage for progress in told} == {'loading', 'learning'}
    loss = losses(out)
    assert len(loss) == 30 and np.mean(loss[-5:]) < 0.5 * np.mean(loss[:5])
    pictures = (picture, 255 - picture)
    assert answers(base, pictures, out) != answers(base, pictures)


def test_what_the_checkpoint_knows_is_rehearsed_as_it_answers_now(checkpoint, folder, tmp_path):
    base, out = checkpoint(), tmp_path / 'adapter'
    finetune(folder, base, out, replace(QUICK, steps=1))
    kept = [json.loads(x) for x in (out / 'training/rehearsal.jsonl').read_text().splitlines()]
    # Two questions, two pictures, each mirrored as well; nothing about what is being learnt.
    assert len(kept) == 8
    assert all('61.5' in line['answer'] and 'stapler' not in line['prompt'] for line in kept)
    assert {line['prompt'] for line in kept} >= {'How many spoons are there?'}


def test_questions_behind_one_picture_count_as_if_asked_alone(checkpoint, picture):
    pupil = pupil_of(load_molmo(checkpoint()))
    exchanges = [
        Exchange('Point to the mug', ' There are none.'),
        Exchange('Locate the stapler.', ' <point x="50.0" y="50.0" alt="stapler">stapler</point>'),
    ]

    def each(some):
        return answer_logits(pupil, pupil.see(picture), pack(some, pupil.tokenizer, pupil.end))

    alone = torch.cat([each([exchange]) for exchange in exchanges])
    assert torch.allclose(each(exchanges), alone, atol=1e-4)


@pytest.mark.parametrize('family', ['qwen2', 'olmo2', 'olmoe'])
def test_layers_computed_again_give_the_same_gradients(family, checkpoint, picture):
    gradients = []
    for recompute in (False, True):
        pupil = pupil_of(load_molmo(checkpoint(family)))
        wrapped = add_lora(pupil.model, [*LAYERS.values()], rank=2, alpha=4, seed=0)
        if recompute:
            recompute_layers(pupil.model)
        exchange = Exchange('Point to the mug', ' There are none.')
        packed = pack([exchange], pupil.tokenizer, pupil.end)
        answer_logits(pupil, pupil.see(picture), packed).logsumexp(-1).sum().backward()
        gradients.append([p.grad for p in wrapped.parameters() if p.requires_grad])
    assert all(map(torch.allclose, *gradients)) and any(g.abs().max() > 0 for g in gradients[0])


def test_stopped_and_called_again_it_ends_where_it_would_have(checkpoint, folder, tmp_path):
    base, settings = checkpoint(), replace(QUICK, steps=6, zoom=0.3)
    finetune(folder, base, tmp_path / 'whole', settings)

    def should_stop():
        # The rehearsal asks as well.
        return (tmp_path / 'parts/training/rehearsal.jsonl').exists() and next(asked)

    asked = iter([False] * 3 + [True] * 9)
    stopped = finetune(folder, base, tmp_path / 'parts', settings, should_stop=should_stop)
    assert (stopped.step, stopped.finished) == (3, False)
    load_engine(base, adapter=tmp_path / 'parts').close()
    assert finetune(folder, base, tmp_path / 'parts', settings).finished
    whole, parts = (load_file(tmp_path / name / WEIGHTS) for name in ('whole', 'parts'))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert losses(tmp_path / 'parts') == losses(tmp_path / 'whole')


def test_going_on_with_other_settings_is_refused(checkpoint, folder, tmp_path):
    base, out = checkpoint(), tmp_path / 'adapter'
    settings = replace(QUICK, steps=1, rehearsal=0.0)
    finetune(folder, base, out, settings)
    with pytest.raises(ValueError, match=r'other values of rank.*another folder'):
        finetune(folder, base, out, replace(settings, rank=8))
    line = '{"image": "b.png", "label": "mug", "points": [[1, 2]]}\n'
    with (folder / 'points.jsonl').open('a') as file:
        file.write(line)
    with pytest.raises(ValueError, match=r'other values of points\.jsonl'):
        finetune(folder, base, out, settings)


@pytest.mark.parametrize('how', [{'dtype': 'bfloat16'}, {'quantize': 'int4'}])
def test_rounded_weights_can_be_taught_too(how, checkpoint, folder, tmp_path):
    out = tmp_path / 'adapter'
    finetune(folder, checkpoint(), out, replace(QUICK, rehearsal=0.0), **how)
    assert {weight.dtype for weight in load_file(out / WEIGHTS).values()} == {torch.float32}
    loss = losses(out)
    assert np.mean(loss[-5:]) < 0.5 * np.mean(loss[:5])


def test_what_cannot_be_taught_is_refused(checkpoint, folder, tmp_path):
    base = checkpoint()
    with pytest.raises(ValueError, match='int4, or not at all'):
        finetune(folder, base, tmp_path / 'adapter', QUICK, quantize='int8')
    with pytest.raises(ValueError, match='holds a checkpoint'):
        finetune(folder, base, base, QUICK)
    with pytest.raises(ValueError, match='decoder, connector, vision'):
        finetune(folder, base, tmp_path / 'adapter', replace(QUICK, targets=('tokenizer',)))


def test_the_command_teaches_and_asking_uses_it(checkpoint, folder, tmp_path, capsys):
    keep, out = tmp_path / 'keep.txt', tmp_path / 'adapter'
    keep.write_text('the mug\n\nthe spoon\n')
    words = ['finetune', folder, '--checkpoint', checkpoint(), '--out', out, '--keep', keep]
    words += ['--steps', 2, '--images', 1, '--questions', 2]
    assert main(list(map(str, words))) == 0
    assert capsys.readouterr().out.strip() == str(out)
    asked = ['ask', folder / 'images/a.png', 'stapler', '--checkpoint', checkpoint()]
    assert main([*map(str, asked), '--adapter', str(out)]) == 0
    assert main([*map(str, asked), '--adapter', str(folder)]) == 2
    assert 'adapter_config.json' in capsys.readouterr().err


@pytest.fixture
def more_pictures(folder):
    """Six pictures, a stapler in five of them and a pen in one alone."""
    lines = []
    for number in range(6):
        image = np.random.default_rng(number).integers(0, 256, (90, 120, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'images/{number}.png'), image)
        points = [[60, 45]] if number else []
        lines.append({'image': f'{number}.png', 'label': 'stapler', 'points': points})
    lines.append({'image': '3.png', 'label': 'pen', 'points': [[20, 20]]})
    (folder / 'points.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    return folder


def test_what_is_held_out_is_asked_before_and_after(checkpoint, more_pictures, tmp_path, capsys):
    base, out = checkpoint(), tmp_path / 'stapler'
    words = ['finetune', more_pictures, '--checkpoint', base, '--out', out, '--steps', 12]
    words += ['--images', 1, '--questions', 2, '--rehearsal', 0, '--hold-out', 0.34]
    words += ['--learning-rate', 0.03]
    assert main([*map(str, words)]) == 0
    told = capsys.readouterr().err
    assert '2 pictures that it was not taught from' in told and 'every question' in told
    before, after = (read_predictions(out / f'training/{n}.jsonl') for n in ('before', 'after'))
    held = {record['image_id'] for record in before.records.values()}
    assert (
        len(held) == 2
        and '3.png' not in held
        and held == {record['image_id'] for record in after.records.values()}
    )
    assert after.settings['model']['name'].endswith('+ stapler')
    page = (out / 'training/report.html').read_text()
    assert 'loss of new answers' in page and 'polyline' in page and 'held out' in page
    # Whoever asks about the pictures that were taught is told; they can be left out.
    measure = ['eval', 'pictures', more_pictures, '--checkpoint', base, '--adapter', out, '--json']
    assert main([*map(str, measure)]) == 0
    output = capsys.readouterr()
    (warning,) = json.loads(output.out)['warnings']
    assert warning.startswith('5 of 7 questions') and warning in output.err
    assert json.loads(output.out)['by']['taught']['no']['n'] == 2
    assert main([*map(str, measure), '--skip-taught', '--photometric', 'blur']) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['questions'] == 2 and report['warnings'] == []


def test_ctrl_c_keeps_what_was_learnt(checkpoint, folder, tmp_path, capsys, monkeypatch):
    out = tmp_path / 'adapter'
    words = ['finetune', folder, '--checkpoint', checkpoint(), '--out', out]
    words = [*map(str, words), '--steps', '4', '--images', '1', '--rehearsal', '0']
    saved = torch.nn.utils.clip_grad_norm_
    steps = []

    def interrupted(*arguments):
        steps.append(arguments)
        if len(steps) == 2:
            signal.raise_signal(signal.SIGINT)
        return saved(*arguments)

    monkeypatch.setattr(torch.nn.utils, 'clip_grad_norm_', interrupted)
    assert main(words) == 130
    assert 'stopped after step 2' in capsys.readouterr().err
    assert main(words) == 0
    assert len(losses(out)) == 4
