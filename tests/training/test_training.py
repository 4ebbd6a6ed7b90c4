# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who retrains the demo model needs stages that learn, resume, and end in a folder that loads."""

import csv
import os
import random
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from molmo_ros.engine import Question, load_engine
from molmo_ros.model.loading import load_molmo
from molmo_ros.model.options import LoadOptions
from molmo_ros.model.preprocessing import ImageTokens, preprocess
from molmo_ros.model.saving import write_molmo
from molmo_ros.model.tokenizer import load_tokenizer
from molmo_ros.pointing import COUNT_PROMPTS, POINT_PROMPTS, read_points
from molmo_ros.tabletop.questions import Thing
from molmo_ros.tabletop.questions.wording import plural
from molmo_ros.tabletop.world import COLOURS, HELD_OUT, make_scene, render
from training import packed_images, plots, pointing, seeing
from training.architecture import CONFIG, PREPROCESSOR, new_model
from training.crops import CELLS, draw_channels, in_crop, make_batch, tiling_of
from training.export import export
from training.language import KNOWN
from training.questions import free_table, make_example, things_of
from training.runs import Muon, Run
from training.scenes import (
    CAMERAS,
    COLOUR_NAMES,
    FIRST_SEED,
    KIND_NAMES,
    MAX_PARTS,
    TABLES,
    load_scenes,
    render_shard,
)
from training.sequences import digits_near, pack
from training.vocabulary import build_tokenizer

SCENES = 24
ROOT = Path(__file__).parents[2]
WEIGHTS = 'model.safetensors'


@pytest.fixture(scope='module')
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('runs')
    (folder / 'scenes').mkdir()
    shard = render_shard(TABLES['rich'], FIRST_SEED, SCENES)
    np.savez(folder / 'scenes/shard_00000.npz', **shard)
    build_tokenizer(folder / 'tokenizer')
    return folder


def logged(folder: Path, column: str) -> dict[int, float]:
    with (folder / 'log.csv').open() as file:
        return {int(row['step']): float(row[column]) for row in csv.DictReader(file)}


def losses(folder: Path) -> dict[int, float]:
    return logged(folder, 'loss')


@pytest.fixture(scope='module', params=CAMERAS)
def seen_by(request: pytest.FixtureRequest, runs: Path) -> tuple[str, Path]:
    """A camera, and scenes that it saw."""
    folder = runs / f'scenes_{request.param}'
    folder.mkdir()
    shard = render_shard(TABLES['rich'], FIRST_SEED, 4, CAMERAS[request.param])
    np.savez(folder / 'shard_00000.npz', **shard)
    return request.param, folder


def test_training_crops_are_what_the_released_preprocessing_makes(
    seen_by: tuple[str, Path],
) -> None:
    name, folder = seen_by
    sizes = {
        'vga': (640, 480),
        'qvga': (320, 240),
        'wide': (1280, 720),
        'upright': (480, 640),
        'panorama': (1000, 400),
    }
    picture = render(make_scene(FIRST_SEED, TABLES['rich']), *sizes[name], smooth=True).color
    real = preprocess(picture, PREPROCESSOR, ImageTokens(1, 2, 3, 4))
    scenes = load_scenes(folder)
    crops = tiling_of(scenes).crops
    batch = make_batch(
        scenes,
        torch.zeros(crops, dtype=torch.long),
        torch.arange(crops),
        torch.zeros(crops, dtype=torch.bool),
        jitter=False,
    )
    # Rendered smaller and rounded to bytes: alike on average, not pixel by pixel.
    assert (batch.patches - real.crops).abs().mean() < 0.02
    assert (real.crops.std() > 0.3) and real.crops.shape == batch.patches.shape


def test_the_place_taught_in_a_crop_is_where_the_crop_shows_the_thing(
    seen_by: tuple[str, Path],
) -> None:
    """A point or an outline taught in the wrong crop would be learned as faithfully as the right
    one."""
    scenes, grid = load_scenes(seen_by[1]), PREPROCESSOR.grid
    crops = tiling_of(scenes).crops
    crop = torch.arange(1, crops).repeat(len(scenes))
    index = torch.arange(len(scenes)).repeat_interleave(crops - 1)
    for mirrored in (False, True):
        batch = make_batch(scenes, index, crop, torch.full(crop.shape, mirrored), jitter=False)
        places = in_crop(torch.from_numpy(scenes.target)[index], batch) / 100 * grid
        inside = ((places > 0.5) & (places < grid - 0.5)).all(-1)
        rows, things = torch.nonzero(inside, as_tuple=True)
        column, row = places[rows, things].unbind(-1)
        patch = row.long() * grid + column.long()
        share = batch.share.sum(-1)[rows, patch, things]
        assert len(rows) > len(scenes) and (share > 0).all()

        shows = batch.cells[rows, patch].div(1 + MAX_PARTS, rounding_mode='floor')
        is_thing = shows == things[:, None]
        assert (is_thing.float().mean(-1) - share).abs().max() < 0.1
        # The cell that holds the place, or one beside it: pictures are small here.
        across, down = (((x % 1) * CELLS).long() for x in (column, row))
        outline = is_thing.unflatten(-1, (CELLS, CELLS)).float()
        near = functional.max_pool2d(outline[:, None], 3, 1, 1)[:, 0]
        assert near[torch.arange(len(rows)), down, across].all()


def test_every_answer_taught_points_at_what_it_says(runs: Path) -> None:
    """In mirrored pictures too, and at the part where a part is asked for."""
    scenes, rng = load_scenes(runs / 'scenes'), random.Random(3)
    width, height = CAMERAS['vga'].coarse
    pointed = 0
    for scene in range(SCENES):
        mirrored = scene % 2 == 1
        ids = scenes.coarse_ids[scene][:, ::-1] if mirrored else scenes.coarse_ids[scene]
        things = things_of(scenes, scene, mirrored)
        for _ in range(20):
            example = make_example(things, rng, free_table(scenes, scene, mirrored))
            reading = read_points(example.answer, width, height)
            assert len(reading.points) == len(example.pointed_at)
            assert reading.absent == (not example.pointed_at)
            for point, target in zip(reading.points, example.pointed_at, strict=True):
                u, v = int(point.u), int(point.v)
                # The picture here is small: the point may round to the next pixel.
                near = ids[max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2]
                wanted = near == 0 if target is None else near % 16 == target[0] + 1
                if target is not None and target[1]:
                    wanted = near == target[0] + 1 + 16 * target[1]
                assert wanted.any(), (example, target)
                pointed += 1
    assert pointed > 300


def test_of_the_digits_taught_none_counts_more_than_the_one_to_write(runs: Path) -> None:
    """Its neighbours count too; were one of them ahead, all points would shift."""
    scenes, tokenizer = load_scenes(runs / 'scenes'), load_tokenizer(runs / 'tokenizer')
    rng = random.Random(5)
    things = [things_of(scenes, scene, False) for scene in range(SCENES)]
    examples = [[make_example(of_one, rng) for _ in range(10)] for of_one in things]
    questions = pack(examples, tokenizer, rng)
    taught = digits_near(questions)
    is_digit = taught.isfinite().all(-1)
    written = tokenizer.backend.convert_ids_to_tokens(questions.label[is_digit].tolist())
    of_written = taught[is_digit][torch.arange(len(written)), torch.tensor([*map(int, written)])]
    assert len(written) > 1000 and (of_written >= taught[is_digit].max(-1).values - 1e-6).all()
    torch.testing.assert_close(taught[is_digit].sum(-1), torch.ones(len(written)))


def test_a_recoloured_picture_shows_the_same_things_and_is_not_asked_for_its_colours(
    runs: Path,
) -> None:
    """Nor does it show a thing as if in a colour that its kind is kept from: the figures for pairs
    that training never shows would be worth nothing."""
    torch.manual_seed(0)
    scenes, rng = load_scenes(runs / 'scenes'), random.Random(0)
    index = torch.arange(SCENES).repeat(20)
    channels = draw_channels(scenes, index)
    other = (channels != torch.arange(3)).any(-1)
    assert 0.1 < other.float().mean() < 0.3
    albedo = np.array([COLOURS[name] for name in COLOUR_NAMES])
    for row in torch.nonzero(other)[:, 0].tolist():
        for kind, colour in zip(scenes.kind[index[row]], scenes.colour[index[row]], strict=True):
            looks = albedo[colour][channels[row].numpy()]
            nearest = COLOUR_NAMES[np.linalg.norm(albedo - looks, axis=1).argmin()]
            assert kind < 0 or (KIND_NAMES[kind], nearest) not in HELD_OUT

    index, channels, other = index[:60], channels[:60], other[:60]
    crop, mirrored = torch.zeros_like(index), torch.zeros(len(index), dtype=torch.bool)
    plain = make_batch(scenes, index, crop, mirrored, jitter=False)
    batch = make_batch(scenes, index, crop, mirrored, False, channels)
    assert batch.recoloured.equal(other) and batch.share.equal(plain.share)
    assert batch.patches[~other].equal(plain.patches[~other])
    mean, std = torch.tensor(PREPROCESSOR.mean), torch.tensor(PREPROCESSOR.std)
    for row in torch.nonzero(other)[:, 0].tolist():
        pixels = (x.patches[row].unflatten(-1, (-1, 3)) * std + mean for x in (batch, plain))
        recoloured, before = pixels
        torch.testing.assert_close(recoloured, before[..., channels[row]])

    labels, covered = seeing.labels_of(scenes, batch, batch.share, 0.3)
    of_other = other[torch.nonzero(covered)[:, 0]]
    assert (labels.colour == seeing.IGNORED).equal(of_other) and of_other.any()
    for scene in range(SCENES):
        things = things_of(scenes, scene, False)
        prompts = [make_example(things, rng, coloured=False).prompt for _ in range(10)]
        assert not any({*re.findall(r'\w+', prompt)} & {*COLOUR_NAMES} for prompt in prompts)


def test_no_patch_teaches_that_a_pair_which_is_never_shown_is_impossible(runs: Path) -> None:
    """Whoever holds a black thing for a duck is right as often as ducks are black, and nothing here
    says how often: black is not to speak against a duck."""
    scenes = load_scenes(runs / 'scenes')
    crop, mirrored = torch.zeros(SCENES, dtype=torch.long), torch.zeros(SCENES, dtype=torch.bool)
    batch = make_batch(scenes, torch.arange(SCENES), crop, mirrored, jitter=False)
    labels, _ = seeing.labels_of(scenes, batch, batch.share, 0.3)
    black, duck = COLOUR_NAMES.index('black'), KIND_NAMES.index('duck')
    heads = seeing.Readouts(CONFIG.text.hidden_size)
    x = torch.zeros(len(labels.kind), CONFIG.text.hidden_size)

    def loss(only: torch.Tensor) -> float:
        some = seeing.Labels(*(getattr(labels, field.name)[only] for field in fields(labels)))
        return seeing.readout_loss(heads, x[only], some)[0].item()

    for head, which, never in (
        (heads.kind, duck, labels.colour == black),
        (heads.colour, black, labels.kind == duck),
    ):
        assert never.any() and not never.all()
        before = loss(never), loss(~never)
        head.bias.data[which] += 5
        assert loss(never) == pytest.approx(before[0])
        assert abs(loss(~never) - before[1]) > 0.1
        head.bias.data[which] -= 5


def test_no_answer_teaches_that_a_pair_which_is_never_shown_is_not_there() -> None:
    """A duck that is looked for among black things is never one of those; who learns from that
    that black things are no ducks will not find the first black duck on a robot's table."""
    things = [_thing('can', 'black', 30), _thing('plate', 'green', 60), _thing('mug', 'red', 80)]
    rng, absent = random.Random(0), []
    for _ in range(4000):
        example = make_example(things, rng)
        if not example.pointed_at:
            absent.append({*re.findall('[a-z]+', example.prompt.lower())})
    # What no table has is no such pair, nor is a word with a wrong letter plainly one.
    said = {*re.findall('[a-z]+', ' '.join((*POINT_PROMPTS, *COUNT_PROMPTS)).lower())}
    absent = [words for words in absent if words <= {*KNOWN, *said, 'a', 'an'}]
    kinds = {name for kind in KIND_NAMES for name in (kind, plural(kind))}
    duck = [words for words in absent if words & {'duck', 'ducks'}]
    assert duck and all(words & {*COLOUR_NAMES} for words in duck)
    assert any('red' in words for words in duck)
    yellow = [words for words in absent if 'yellow' in words]
    assert yellow and all(words & kinds for words in yellow)  # the plate could be yellow
    assert any(words & {'apple', 'apples'} and not words & {*COLOUR_NAMES} for words in absent)
    assert any('purple' in words and not words & kinds for words in absent)


def _thing(kind: str, colour: str, across: float) -> Thing:
    return Thing(kind, colour, 'plain', (across, 50.0), (0.0, 0.0, 1.0), 0.1, 2.0, 1.0, {})


def test_workers_end_with_the_same_weights(runs: Path, tmp_path: Path) -> None:
    """Were their gradients not shared, each would train a model of its own on its scenes, and all
    but the first be thrown away."""
    (tmp_path / 'scenes').mkdir()
    shard = dict(np.load(runs / 'scenes/shard_00000.npz'))
    for number, part in enumerate((slice(0, 12), slice(12, 24))):
        half = {key: values[part] for key, values in shard.items()}
        np.savez(tmp_path / f'scenes/shard_{number:05d}.npz', **half)
    script = f"""
from pathlib import Path
import torch
from training import pointing, seeing, workers

TMP = Path({str(tmp_path)!r})

def keep(run, modules, optimizer):
    torch.save(modules.state_dict(), TMP / f'{{run.folder.name}}_{{workers.number()}}.pt')

def work():
    seeing.Run.save = keep
    seeing.train(TMP / 'seeing', TMP / 'scenes', steps=2, batch_size=8)
    stage = TMP / 'pointing', [TMP / 'scenes'], Path({str(runs / 'tokenizer')!r})
    pointing.train(*stage, steps=2, images=2, per_scene=2)

if __name__ == '__main__':
    workers.run(2, work)
"""
    (tmp_path / 'script.py').write_text(script)
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, tmp_path / 'script.py']
    subprocess.run(command, env=environment, check=True, timeout=200)
    for stage in ('seeing', 'pointing'):
        first, second = (torch.load(tmp_path / f'{stage}_{number}.pt') for number in (0, 1))
        assert first.keys() == second.keys()
        assert all(first[key].equal(second[key]) for key in first)


def test_the_optimizer_takes_the_steps_of_torchs_muon() -> None:
    """torch's is slow where a CPU lacks bfloat16; one that strays from it trains another model."""
    torch.manual_seed(0)
    start = [torch.randn(shape) for shape in ((24, 64), (64, 24), (32, 32))]
    ours, theirs = ([nn.Parameter(one.clone()) for one in start] for _ in range(2))
    settings: dict[str, Any] = {'lr': 0.02, 'adjust_lr_fn': 'match_rms_adamw'}
    both = (Muon(ours, **settings), ours), (torch.optim.Muon(theirs, **settings), theirs)
    for _ in range(4):
        gradients = [torch.randn_like(one) for one in start]
        for optimizer, weights in both:
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient.clone()
            optimizer.step()
    for one, other, before in zip(ours, theirs, start, strict=True):
        moved = (other - before).norm()
        assert (one - other).norm() < 0.02 * moved and moved > 0.1
    assert both[0][0].state_dict().keys() == both[1][0].state_dict().keys()


def test_training_computes_what_inference_will(runs: Path) -> None:
    """Several questions in one row, each as if it were alone after its image."""
    torch.manual_seed(0)
    scenes, tokenizer, rng = (
        load_scenes(runs / 'scenes'),
        load_tokenizer(runs / 'tokenizer'),
        random.Random(0),
    )
    examples = [[make_example(things_of(scenes, i, False), rng) for _ in range(5)] for i in (0, 1)]
    questions = pack(examples, tokenizer, rng)
    model, prefix = new_model().text, torch.randn(2, 50, CONFIG.text.hidden_size)
    words = model.get_input_embeddings()(questions.ids)
    layout = packed_images.Layout(2, 50, questions.image, questions.lengths)
    with torch.no_grad():
        model.config._attn_implementation = packed_images.NAME
        together = model(
            inputs_embeds=torch.cat([prefix.flatten(0, 1), words])[None],
            attention_mask={'full_attention': layout},
            position_ids=layout.positions(),
            use_cache=False,
        ).last_hidden_state[0, 100:]
        model.config._attn_implementation = 'sdpa'
        start = 0
        for image, length in zip(questions.image, questions.lengths.tolist(), strict=True):
            row = torch.cat([prefix[image], words[start : start + length]])[None]
            alone = model(inputs_embeds=row, use_cache=False).last_hidden_state[0, 50:]
            torch.testing.assert_close(together[start : start + length], alone, atol=2e-5, rtol=0)
            start += length
    assert start == len(questions.ids)


def test_both_stages_train_on_another_device_as_on_the_cpu(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_device: Any
) -> None:
    """On a GPU, one tensor left on the CPU ends a training before its first step."""

    def train(out: Path) -> list[float]:
        torch.manual_seed(0)
        random.seed(0)
        seeing.train(out / 'seeing', runs / 'scenes', steps=2, batch_size=4)
        stage = out / 'pointing', [runs / 'scenes'], runs / 'tokenizer'
        pointing.train(*stage, steps=2, images=2, per_scene=2)
        return [losses(out / 'seeing')[2], losses(out / 'pointing')[2]]

    monkeypatch.setattr(Run, 'save', lambda *_: None)
    wanted = train(tmp_path / 'cpu')
    for module in (seeing, pointing):
        monkeypatch.setattr(module, 'device', lambda: other_device.device)
    with other_device:
        assert train(tmp_path / 'other') == pytest.approx(wanted, rel=1e-4)
        with pytest.raises(RuntimeError, match='mixed devices'):
            torch.zeros(2, device=other_device.device) + torch.zeros(2)


def test_both_stages_learn_resume_go_on_and_export_a_folder_that_answers(
    runs: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    seeing.train(runs / 'seeing', runs / 'scenes', steps=2, batch_size=8)
    seeing.train(runs / 'seeing', runs / 'scenes', steps=40, batch_size=8)
    seen = losses(runs / 'seeing')
    assert set(seen) == {2, 40} and seen[40] < 0.9 * seen[2]

    stage = runs / 'pointing', [runs / 'scenes'], runs / 'tokenizer'
    pointing.train(*stage, steps=2, encoder=runs / 'seeing', images=2, per_scene=2)
    pointing.train(*stage, steps=15, encoder=runs / 'seeing', images=2, per_scene=2)
    told = losses(runs / 'pointing')
    assert set(told) == {2, 15} and told[15] < 0.9 * told[2]

    stage = runs / 'longer', [runs / 'scenes', runs / 'scenes_upright'], runs / 'tokenizer'
    pointing.train(*stage, steps=15, start=runs / 'pointing', images=2, per_scene=2)
    assert losses(runs / 'longer')[15] < 0.9 * told[2]
    # Image tokens a thousand times as long as what a layer adds would never be worked on.
    assert all(100 < norm < 400 for norm in logged(runs / 'longer', 'norm').values())

    plots.plot(runs / 'pointing', tmp_path / 'curves.png')
    assert (tmp_path / 'curves.png').stat().st_size > 10_000
    export(runs / 'pointing', runs / 'tokenizer', tmp_path / 'checkpoint')
    engine = load_engine(tmp_path / 'checkpoint', device='cpu')
    picture = render(make_scene(FIRST_SEED, TABLES['rich']), 320, 240).color
    assert isinstance(engine.answer(picture, Question('the red mug')).text, str)

    def exported(name: str, run: str, *others: Path, dtype: str = 'float32') -> torch.Tensor:
        export(runs / run, runs / 'tokenizer', tmp_path / name, others, dtype)
        return load_molmo(tmp_path / name).model.lm_head.weight

    first = exported('first', 'pointing')
    mean, last = exported('mean', 'pointing', runs / 'longer'), exported('last', 'longer')
    torch.testing.assert_close(mean, (first + last) / 2)
    assert not first.equal(last)
    # A checkpoint's weights count as a run's do.
    assert exported('again', 'pointing', tmp_path / 'last').equal(mean)

    stage = runs / 'from_checkpoint', [runs / 'scenes'], runs / 'tokenizer'
    pointing.train(*stage, steps=2, start=tmp_path / 'checkpoint', images=2, per_scene=2)
    told, again = (logged(runs / run, 'language') for run in ('pointing', 'from_checkpoint'))
    assert again[2] < 0.9 * told[2]


def test_an_export_is_stored_in_half_the_bytes_and_rounded_once(runs: Path, tmp_path: Path) -> None:
    """Were each of the averaged rounded first, or what is averaged loaded as a GPU would, the demo
    checkpoint would be a worse one."""
    for seed, name in enumerate(('one', 'other')):
        write_molmo(new_model(seed), PREPROCESSOR, tmp_path / name)
    one, other = (load_file(tmp_path / name / WEIGHTS) for name in ('one', 'other'))
    source, others = tmp_path / 'one', [tmp_path / 'other']
    export(source, runs / 'tokenizer', tmp_path / 'default', others)
    export(source, runs / 'tokenizer', tmp_path / 'asked for', others, 'bfloat16')
    export(source, runs / 'tokenizer', tmp_path / 'whole', others, 'float32')
    for name, dtype in (
        ('default', torch.float16),
        ('asked for', torch.bfloat16),
        ('whole', torch.float32),
    ):
        stored = load_file(tmp_path / name / WEIGHTS)
        assert stored.keys() == one.keys()
        assert all(
            weight.equal(((one[key] + other[key]) / 2).to(dtype)) for key, weight in stored.items()
        )
        loaded = load_molmo(tmp_path / name, LoadOptions('cpu')).model
        assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    whole, default = ((tmp_path / name / WEIGHTS).stat().st_size for name in ('whole', 'default'))
    assert default < 0.51 * whole


def test_weights_too_large_for_the_type_are_not_stored_as_infinite(
    runs: Path, tmp_path: Path
) -> None:
    model = new_model()
    model.state_dict()['lm_head.weight'][3, 5] = -70_000
    write_molmo(model, PREPROCESSOR, tmp_path / 'large')
    with pytest.raises(ValueError, match=r'ff_out.weight reaches 7e\+04.*bfloat16 or float32'):
        export(tmp_path / 'large', runs / 'tokenizer', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    export(tmp_path / 'large', runs / 'tokenizer', tmp_path / 'out', dtype='bfloat16')


def test_the_one_command_goes_from_nothing_to_a_checkpoint(tmp_path: Path) -> None:
    """Rendering for every camera, both stages, export and curves, in few steps."""
    few = {'scenes': 12, 'rich-scenes': 12, 'other-scenes': 2}
    few |= {'easy-steps': 1, 'seeing-steps': 1, 'pointing-steps': 1}
    options = [text for name, number in few.items() for text in (f'--{name}', str(number))]
    command = [sys.executable, '-m', 'training', '--runs', tmp_path, '--out', tmp_path / 'out']
    command += ['--workers', '2']
    subprocess.run([*command, *options], cwd=ROOT, check=True, timeout=300)
    assert load_engine(tmp_path / 'out', device='cpu')
    assert len(list(tmp_path.glob('*/curves.png'))) == 3
