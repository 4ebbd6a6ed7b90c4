# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the engine promises, over more questions than a test can wait for.

    python -m benchmarks.engine_checks identity [--questions 1000] [--checkpoint models/tabletop]
    python -m benchmarks.engine_checks memory [--questions 10000]
    python -m benchmarks.engine_checks calibration [--scenes 250] [--svg FILE]

identity: questions about rendered scenes, some together, some twice, half of them about something
that is not there; every answer's tokens beside those of plain greedy decoding through transformers'
classes. memory: a tiny random model on frames that all differ. calibration: the confidence of
points beside how often they are within 5 % of the image of where to point, in x and in y, and how
often they are on the object; their spread beside how far off they are; --svg draws it. As many
questions again are about things that are not there: how often they are pointed at all the same.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
from collections import Counter
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.random_molmo import (
    ONE_POINT,
    TINY_PREPROCESSOR,
    random_molmo,
    tilt,
    tiny_config,
    tiny_tokenizer,
)
from molmo_ros.engine import Question
from molmo_ros.engine.confidence import NEAR
from molmo_ros.engine.local import LocalEngine
from molmo_ros.engine.requests import heard
from molmo_ros.model.greedy import greedy_tokens
from molmo_ros.model.loading import LoadedMolmo, load_molmo
from molmo_ros.model.preprocessing import ImageTokens, preprocess
from molmo_ros.model.tokenizer import MolmoTokenizer
from molmo_ros.pointing import Mode, finished, prompt_for
from molmo_ros.tabletop.world import EASY, Truth, make_scene, render, truth_of

FIRST_SEED = 5000  # scenes that no model was trained on
SIZE = (640, 480)
AT_ONCE = 8


def identity(checkpoint: Path, questions: int) -> None:
    rng = random.Random(0)
    loaded = load_molmo(checkpoint)
    oracle, engine = loaded, LocalEngine(load_molmo(checkpoint))
    asked = different = passes = plain_passes = 0
    most: Counter[int] = Counter()
    for image, truths in scenes(-(-questions // AT_ONCE)):
        batch = [random_question(rng, truths) for _ in range(min(AT_ONCE, questions - asked))]
        expected = plain_tokens(oracle, image, batch)
        together = rng.randrange(len(batch) + 1)
        answers = [engine.answer(image, question) for question in batch[together:]]
        if together:
            answers = [*engine.answer_many(image, batch[:together]), *answers]
        for question, answer, tokens in zip(batch, answers, expected, strict=True):
            asked += 1
            passes += answer.passes
            plain_passes += len(tokens) + 1
            if len(answer.points) == 1:
                most[answer.passes] += 1
            if answer.tokens != tokens:
                different += 1
                print(f'differs: {question}\n  {answer.tokens}\n  {tokens}')
        if asked % 100 < AT_ONCE:
            print(f'{asked} questions, {different} different', flush=True)
    print(f'{asked} questions: {different} different from plain greedy decoding')
    print(f'passes: {passes / asked:.2f} an answer; plain {plain_passes / asked:.2f}')
    print('passes for one point:', ', '.join(f'{n}: {most[n]} answers' for n in sorted(most)))


def plain_tokens(
    loaded: LoadedMolmo, image: NDArray[np.uint8], questions: list[Question]
) -> list[tuple[int, ...]]:
    """Greedy decoding, one token a pass, up to where an answer is finished."""
    tokenizer = loaded.tokenizer
    inputs = preprocess(image, loaded.preprocessor, tokenizer.image, loaded.model.device)
    with torch.inference_mode():
        embeds = loaded.model.embed_image(inputs, tokenizer.eos)
    answers = []
    for asked in questions:
        question = heard(asked, loaded.model.config.language)  # as the engine hears it
        suffix = tokenizer.encode_question(prompt_for(question.query, question.mode))
        room = loaded.model.config.text.max_positions - embeds.shape[1] - len(suffix)
        ids: list[int] = []
        for token in islice(greedy_tokens(loaded.model, embeds, suffix, tokenizer.eos), room):
            ids.append(token)
            text = tokenizer.decode(ids)
            if question.mode is not Mode.ASK and finished(text, question.max_points):
                break
        answers.append(tuple(ids))
    return answers


def scenes(count: int) -> Iterator[tuple[NDArray[np.uint8], tuple[Truth, ...]]]:
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        scene = make_scene(seed)
        rendering = render(scene, *SIZE)
        yield rendering.color, truth_of(scene, rendering)


def random_question(rng: random.Random, truths: tuple[Truth, ...]) -> Question:
    """About what is there, or may not be; pointing, counting, or in other words."""
    if rng.random() < 0.5:
        truth = rng.choice(truths)
        query = f'{truth.colour} {truth.kind}'
    else:
        query = f'{rng.choice(EASY.colours)} {rng.choice(EASY.kinds)}'
    query = rng.choice(['', 'the ', 'every ']) + query
    return Question(query, rng.choice([Mode.POINT, Mode.POINT, Mode.COUNT, Mode.ASK]))


def memory(questions: int) -> None:
    backend = tiny_tokenizer()
    model = random_molmo(tiny_config('qwen2'), 0)
    tilt(model, backend, [ONE_POINT])
    ids = backend.convert_tokens_to_ids(['<im_start>', '<im_end>', '<im_patch>', '<im_col>'])
    tokenizer = MolmoTokenizer(backend, ImageTokens(*ids), backend.eos_token_id)
    engine = LocalEngine(LoadedMolmo(model, tokenizer, TINY_PREPROCESSOR))
    pixels = np.random.default_rng(0)
    print('questions  held by the engine [bytes]  most resident [MB]')
    for asked in range(1, questions + 1):
        image = pixels.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        engine.answer(image, Question(f'mug {asked}'))
        if asked % (questions // 10) == 0 or asked == 100:
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f'{asked:9d} {engine.held_bytes:27d} {resident:18.1f}', flush=True)


def calibration(checkpoint: Path, count: int, svg: Path | None) -> None:
    engine = LocalEngine(load_molmo(checkpoint))
    rows, in_vain, absent = [], 0, []
    rng = random.Random(0)
    for image, truths in scenes(count):
        seen = [truth for truth in truths if truth.visible_pixels > 0]
        names = Counter((truth.colour, truth.kind) for truth in seen)
        alone = [truth for truth in seen if names[truth.colour, truth.kind] == 1]
        missing = [name for name in product(EASY.colours, EASY.kinds) if name not in names]
        asked = [(truth.colour, truth.kind) for truth in alone]
        asked += rng.sample(missing, min(len(alone), len(missing)))
        questions = [Question(f'{colour} {kind}', max_points=1) for colour, kind in asked]
        answers = engine.answer_many(image, questions) if questions else ()
        in_vain += len(answers) - len(alone)
        absent += [p.confidence for answer in answers[len(alone) :] for p in answer.points]
        for truth, answer in zip(alone, answers, strict=False):
            for point in answer.points:
                x, y = min(int(point.u), SIZE[0] - 1), min(int(point.v), SIZE[1] - 1)
                right, down = np.array(point.centred) - truth.target
                near = max(abs(right) / SIZE[0], abs(down) / SIZE[1]) <= NEAR / 100
                off = np.hypot(right, down)
                rows.append((point.confidence, point.spread, near, truth.mask[y, x], off))
    confidence, spread, near, hit, off = np.array(rows, dtype=np.float64).T
    print(f'{len(rows)} points')
    print('confidence    points  mean  near  on the object')
    print(
        f'all        {len(rows):9d}  {confidence.mean():.2f}  {near.mean():.2f}  {hit.mean():.2f}'
    )
    bins = np.minimum((confidence * 10).astype(int), 9)
    shares = []
    for index in np.unique(bins):
        chosen = bins == index
        share = confidence[chosen].mean(), near[chosen].mean(), hit[chosen].mean()
        shares.append((*share, int(chosen.sum())))
        cells = '  '.join(f'{value:.2f}' for value in share)
        print(f'{index / 10:.1f} to {index / 10 + 0.1:.1f} {chosen.sum():9d}  {cells}')
    for name, column in (('near', 1), ('on the object', 2)):
        error = sum(share[-1] * abs(share[0] - share[column]) for share in shares) / len(rows)
        print(f'expected calibration error, {name}: {error:.3f}')
    print(f'not there: {in_vain} asked for, {len(absent)} pointed at', end='')
    print(f', mean confidence {np.mean(absent):.2f}' if absent else '')
    if svg is not None:
        svg.write_text(reliability_diagram(shares))
    print('spread [px]   points  rms distance from the target [px]')
    for low, high in ((0, 5), (5, 10), (10, 20), (20, 40), (40, 80), (80, 400)):
        chosen = (low <= spread) & (spread < high)
        if chosen.any():
            rms = np.sqrt((off[chosen] ** 2).mean())
            print(f'{low:3d} to {high:3d} {chosen.sum():10d}  {rms:.1f}')


def reliability_diagram(shares: list[tuple[float, float, float, int]]) -> str:
    """An SVG of (mean confidence, share near, share on the object, points) a bin."""
    marks = []
    for confidence, near, hit, points in shares:
        x, radius = 40 + 300 * confidence, 2 + points**0.5 / 3
        marks.append(f'<circle cx="{x:.1f}" cy="{320 - 300 * near:.1f}" r="{radius:.1f}" />')
        marks.append(
            f'<circle cx="{x:.1f}" cy="{320 - 300 * hit:.1f}" r="{radius:.1f}" '
            'fill="none" stroke="#1f5fa8" />'
        )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 360 360" '
        'font-family="sans-serif" font-size="12" fill="#1f5fa8">'
        '<rect width="360" height="360" fill="white" />'
        '<path d="M40 20V320H340" fill="none" stroke="black" />'
        '<path d="M40 320L340 20" stroke="#999" stroke-dasharray="4" />'
        + ''.join(marks)
        + '<g fill="black"><text x="190" y="350" text-anchor="middle">confidence, 0 to 1</text>'
        '<text x="190" y="14" text-anchor="middle">filled: near the target; open: on it</text>'
        '<text x="20" y="170" text-anchor="middle" transform="rotate(-90 20 170)">share</text>'
        '</g></svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('check', choices=('identity', 'memory', 'calibration'))
    parser.add_argument('--checkpoint', type=Path, default=Path('models/tabletop'))
    parser.add_argument('--questions', type=int)
    parser.add_argument('--scenes', type=int, default=250)
    parser.add_argument('--svg', type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    if arguments.check == 'identity':
        identity(arguments.checkpoint, arguments.questions or 1000)
    elif arguments.check == 'memory':
        memory(arguments.questions or 10_000)
    else:
        calibration(arguments.checkpoint, arguments.scenes, arguments.svg)


if __name__ == '__main__':
    main()
