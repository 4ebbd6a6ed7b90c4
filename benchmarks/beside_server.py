# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A server's answers and times beside those of the engine here, from the same checkpoint.

    python -m benchmarks.beside_server --checkpoint FOLDER --server http://127.0.0.1:8000/v1
        [--pictures 12] [--largest 480] [--rounds 5] [--width 640] [--height 480] [--pid PID]
        [--as-vllm]

FOLDER has the weights that the server has, with random ones too. First, is it the same: --pictures
pictures, of sizes up to --largest, some with one question, some with three at once, pointing,
counting and in plain words; for each what the server's model reads (ids) and what it writes (ids,
points) beside the engine here, which runs in float32. A server that stops earlier or later in
what follows the last coordinate has written the same. Then, how long: --rounds rounds, in each a
new picture, another question about it, and eight more, asked here and there in turn; the least of
the rounds counts most, for other programs are in the others. --pid is the server's process: with it
the processor's time of it and its children is told, too, beside that of this process.

--as-vllm does here what vLLM 0.32 does: it puts a patch's feature in place of the embedding of the
token `<im_patch>`, where the release's own code adds the two. Without it that difference is found.

Give both the same cores and threads: `taskset -c 0`, OMP_NUM_THREADS=1. Ends with 1 where anything
differs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import torch
from numpy.typing import NDArray

from molmo_ros.engine import Answer, Engine, EngineError, Question
from molmo_ros.engine.local import LocalEngine
from molmo_ros.engine.remote.engine import RemoteEngine, open_server
from molmo_ros.model.loading import LoadedMolmo, load_molmo
from molmo_ros.model.options import LoadOptions
from molmo_ros.model.preprocessing import preprocess
from molmo_ros.pointing import Mode, prompt_for

KINDS = ('mug', 'red lid', 'second screw from the left', 'cable', 'anything green')
CASES = (('new picture', 1), ('same picture', 1), ('same picture, 8 questions', 8))
TICKS = os.sysconf('SC_CLK_TCK')


@dataclass(frozen=True)
class Pair:
    """The same checkpoint here and behind a server."""

    loaded: LoadedMolmo
    here: LocalEngine
    there: RemoteEngine


def picture(seed: int, width: int, height: int) -> NDArray[np.uint8]:
    """Patches of colour and some noise, others for each seed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 5 // width
    noise = random.integers(0, 24, (height, width, 3), dtype=np.uint8)
    return coarse[rows][:, columns] ^ noise


def questions(seed: int, count: int, most: int = 1) -> list[Question]:
    """Never two alike."""
    modes = (Mode.POINT, Mode.COUNT, Mode.POINT, Mode.POINT, Mode.COUNT, Mode.ASK)
    return [
        Question(f'{KINDS[(seed + n) % 5]} {seed}.{n}', modes[(seed + n) % 6], most)
        for n in range(count)
    ]


@torch.no_grad()
def replace_embeddings(loaded: LoadedMolmo) -> None:
    """Leave nothing of the embedding that an image's features are added to."""
    loaded.model.text.embed_tokens.weight[loaded.tokenizer.image.patch] = 0


def differences(pair: Pair, pictures: int, largest: int) -> int:
    """Ask both, print what differs; how many differ."""
    random = np.random.default_rng(0)
    asked = different = written = 0
    texts = set()
    for seed in range(pictures):
        width, height = (int(side) for side in random.integers(largest // 4, largest + 1, 2))
        image = picture(seed, width, height)
        some = questions(seed, 3 if seed % 3 == 0 else 1)
        here, there = pair.here.answer_many(image, some), pair.there.answer_many(image, some)
        read = _prompts(pair, image, some[0])
        if read[0] != read[1]:
            different += 1
            print(f'{width}x{height}: reads {len(read[1])} tokens, others than the {len(read[0])}')
        for question, one, other in zip(some, here, there, strict=True):
            asked += 1
            same = same_tokens(one, other, pair.loaded.tokenizer.eos)
            written += len(other.tokens)
            texts.add(other.tokens)
            if not same or _places(one) != _places(other):
                different += 1
                parted = _apart(pair.loaded, image, question, one, other)
                print(f'{width}x{height} {question}: {parted}')
                print(f'  here  {one.text[:200]!r}\n  there {other.text[:200]!r}')
    print(
        f'{pictures} pictures, {asked} questions, {len(texts)} different answers, {written} tokens '
        f'written by the server: {different} differ'
    )
    return different


def same_tokens(here: Answer, there: Answer, eos: int) -> bool:
    """Whether the ids agree as far as both wrote: each stops where only the label is missing, and
    a server may allow fewer tokens."""
    one = here.tokens
    other = there.tokens[:-1] if there.tokens[-1:] == (eos,) else there.tokens
    short = min(len(one), len(other))
    whole = len(one) == len(other) or bool(here.points) or there.truncated
    return short > 0 and whole and one[:short] == other[:short]


@torch.inference_mode()
def _apart(
    loaded: LoadedMolmo, image: NDArray[np.uint8], question: Question, one: Answer, other: Answer
) -> str:
    """How much likelier than the server's token the engine here finds its own, where they part."""
    both = list(zip((*one.tokens, loaded.tokenizer.eos), other.tokens, strict=False))
    alike = next((n for n, (mine, its) in enumerate(both) if mine != its), None)
    if alike is None:
        return 'no token differs as far as both wrote'
    model, tokenizer = loaded.model, loaded.tokenizer
    inputs = preprocess(image, loaded.preprocessor, tokenizer.image)
    prompt = tokenizer.encode_question(prompt_for(question.query, question.mode))
    read = model.embed(torch.tensor([*prompt, *one.tokens[:alike]]))
    embeds = torch.cat([model.embed_image(inputs, tokenizer.eos), read], dim=1)
    logits = model.lm_head(model.decode(embeds)[0, -1])
    mine, its = both[alike]
    return (
        f'token {alike}: {tokenizer.decode([mine])!r} here, {tokenizer.decode([its])!r} there; '
        f'logits {logits[mine]:.4f} and {logits[its]:.4f} here'
    )


def _places(answer: Answer) -> list[tuple[float, float]]:
    return [(point.u, point.v) for point in answer.points]


def _prompts(
    pair: Pair, image: NDArray[np.uint8], question: Question
) -> tuple[list[int], list[int]]:
    """The ids that the model reads here and there."""
    tokenizer = pair.loaded.tokenizer
    prompt = prompt_for(question.query, question.mode)
    ids, _ = preprocess(image, pair.loaded.preprocessor, tokenizer.image).after(tokenizer.eos)
    return [*ids.tolist(), *tokenizer.encode_question(prompt)], pair.there.prompt_ids(image, prompt)


def times(pair: Pair, rounds: int, width: int, height: int, pid: int | None) -> None:
    """Print how long each case took, here and there in turn."""
    clocks: tuple[Callable[[], float], ...] = (
        time.process_time,
        (lambda: spent_by(pid)) if pid else lambda: float('nan'),
    )
    took: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for index in range(rounds + 1):
        image = picture(1000 + index, width, height)
        asked = [
            [Question(f'{case} {index}.{n}', max_points=1) for n in range(count)]
            for case, count in CASES
        ]
        engines: Sequence[tuple[int, Engine]] = ((0, pair.here), (1, pair.there))
        for which, engine in engines if index % 2 else reversed(engines):
            for (case, _), some in zip(CASES, asked, strict=True):
                began = time.perf_counter(), clocks[which]()
                engine.answer_many(image, some)
                spent = time.perf_counter() - began[0], clocks[which]() - began[1]
                if index:  # the first round warms up
                    took[case, which].append(spent)
    print(f'\n{width} x {height}, {rounds} rounds; ms: least, median; processor least, median\n')
    print('| | here | server | here, processor | server, processor |')
    print('|---' * 5 + '|')
    for case, _ in CASES:
        cells = [
            f'{min(column) * 1e3:.0f}, {statistics.median(column) * 1e3:.0f}'
            for part in (0, 1)
            for which in (0, 1)
            for column in [[one[part] for one in took[case, which]]]
        ]
        print(f'| {case} | {" | ".join(cells)} |')


def spent_by(pid: int) -> float:
    """Seconds of processor time of a process and all below it."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    own = (int(fields[11]) + int(fields[12])) / TICKS
    tasks = Path(f'/proc/{pid}/task').glob('*/children')
    return own + sum(spent_by(int(child)) for task in tasks for child in task.read_text().split())


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument('--checkpoint', type=Path, required=True)
    made.add_argument('--server', required=True, help='its address, as in docs/serving.md')
    made.add_argument('--pictures', type=int, default=12)
    made.add_argument('--largest', type=int, default=480, help='pixels of a side, to compare')
    made.add_argument('--rounds', type=int, default=5)
    made.add_argument('--width', type=int, default=640, help='of the pictures that are timed')
    made.add_argument('--height', type=int, default=480)
    made.add_argument('--as-vllm', action='store_true', help='features replace embeddings')
    made.add_argument('--pid', type=int, help="the server's process, on this machine")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser()
    options = made.parse_args(arguments)
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    loaded = load_molmo(options.checkpoint, LoadOptions('cpu', 'float32'))
    if options.as_vllm:
        replace_embeddings(loaded)
    try:
        there = open_server(options.server, 'molmo')
    except EngineError as error:
        made.exit(2, f'{error}\n')
    try:
        pair = Pair(loaded, LocalEngine(loaded), there)
        different = differences(pair, options.pictures, options.largest)
        if options.rounds:
            times(pair, options.rounds, options.width, options.height, options.pid)
    finally:
        there.close()
    return 1 if different else 0


if __name__ == '__main__':
    sys.exit(main())
