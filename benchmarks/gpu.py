# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One session on a GPU: is what the engine computes there right, and how fast is it.

    python -m benchmarks.gpu --minutes 10 [--out FOLDER]

Right comes first: the goldens in float32 and bfloat16, through transformers' classes and through
the engine's passes (from the cache, beside another question, behind another frame); tiny random
checkpoints of every architecture, all tokens beside plain greedy decoding, one question, several,
and two frames at once, through captured passes, on every GPU there is; whether passes were
captured, and why not. Then speed: the shapes of 7B-D, Molmo2-8B and MolmoPoint-8B with random
weights in bfloat16, then quantised, each case beside its floor (FLOPs and bytes at the rates that
this device reached just before), 7B-D also beside `generate` with the release's 27 passes and
growing cache; two cameras at once beside two in turn; and a product with one matrix of 7B-D, packed
in every way that there is (`benchmarks.quantised_products`). Neither a network nor rendering is
needed; what a missing package or an older transformers leaves out is said. Without a GPU it runs on
the CPU with tiny models, which shows that it runs. Writes gpu.json and gpu.md into --out. What does
not fit into --minutes is left out, and said: a step begins only while there is as much time as the
longest of its kind took.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from benchmarks.cameras_together import measured
from benchmarks.engine import CASES, Asking, Bench, clock_of, measure_rates
from benchmarks.gpu_kinds import Kind, Made, molmo
from benchmarks.quantised_products import SHAPES, measure
from benchmarks.random_molmo_point import golden_with_image
from molmo_ros.engine import Answer, AskedImage, Question, QueuedQuestion
from molmo_ros.engine.checking import check_checkpoint
from molmo_ros.engine.local import LocalEngine
from molmo_ros.engine.networks import Loaded
from molmo_ros.model.config import TextFamily
from molmo_ros.model.loading import LoadedMolmo
from molmo_ros.model.quantization import QUANTIZATIONS, check_available
from molmo_ros.pointing import Mode

GOLDENS = Path(__file__).parents[1] / 'tests/model/goldens'
FAMILIES: tuple[TextFamily, ...] = ('qwen2', 'olmo2', 'olmoe')
TYPES = ('float32', 'bfloat16')
SPOKEN = (CASES[0], CASES[1], CASES[2], CASES[5], CASES[8])
SIZE, TINY_SIZE = (640, 480), (120, 90)
PRODUCTS, TINY_PRODUCTS = ('7b-d-down', '7b-d-qkv'), ('demo-down',)
PRODUCT_ROWS, TINY_PRODUCT_ROWS = (1, 4, 8, 16, 64, 800), (1, 4)
CAMERAS = 2


@dataclass
class Findings:
    """What a session found: checks that passed or failed, timings of answers and of products with
    packed weights, and what was left out."""

    machine: dict[str, str]
    checks: list[dict[str, Any]] = field(default_factory=list)
    timings: list[dict[str, Any]] = field(default_factory=list)
    products: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return all(check['passed'] for check in self.checks)


class Session:
    """Does one step after the other while there is time; a step that fails is a finding."""

    def __init__(self, findings: Findings, seconds: float) -> None:
        self.findings, self._end = findings, time.monotonic() + seconds
        self._longest: dict[str, float] = {}

    def step(self, kind: str, name: str, work: Callable[[], None]) -> None:
        """kind: of those that take about as long."""
        begin = time.monotonic()
        if begin + self._longest.get(kind, 0) > self._end:
            self.findings.left_out.append(f'{name}: no time was left')
            return
        print(name, flush=True)
        try:
            work()
        except Exception as error:
            why = f'{type(error).__name__}: {str(error)[:300]}'
            self.findings.checks.append({'name': name, 'passed': False, 'found': why})
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._longest[kind] = max(self._longest.get(kind, 0), time.monotonic() - begin)


def golden_folders() -> list[Path]:
    """Tiny checkpoints beside what the reference computed, of releases that this transformers
    knows."""
    known = {'molmo': True, 'molmo_point': later_kinds() is not None}
    found = []
    for path in sorted(GOLDENS.iterdir()):
        if (path / 'config.json').is_file():
            fields = json.loads((path / 'config.json').read_text())
            if known.get(fields.get('model_type'), False):
                found.append(path)
    return found


def goldens(findings: Findings, device: str, dtype: str) -> None:
    """Through transformers' classes, and through the engine's passes."""
    for folder in golden_folders():
        with tempfile.TemporaryDirectory() as place:
            file = folder / 'expected.safetensors'
            if (folder / 'case.json').is_file():
                file = golden_with_image(folder, Path(place))
            report = check_checkpoint(folder, file, device, dtype)
        name = f'{folder.name} in {dtype} on {device}'
        told = [one for one in report.findings if not one.passed or one.name.startswith('the eng')]
        found = '; '.join(f'{one.name}: {one.detail}' for one in told)
        findings.checks.append({'name': name, 'passed': report.passed, 'found': found})


def identity(findings: Findings, device: str, kind: Kind, dtype: str, questions: int) -> None:
    """Tokens of a tiny checkpoint beside plain greedy decoding; in float32 they must be equal."""
    rng, pixels = random.Random(kind.name), np.random.default_rng(1)
    different = asked = 0
    refused = ''
    for noise in (0.02, 0.3):
        loaded = kind.tiny(Made(device, getattr(torch, dtype), noise))
        engine = LocalEngine(loaded, patience=0)
        for _ in range(questions // 8):
            image = pixels.integers(0, 256, (rng.randrange(60, 140), 120, 3), dtype=np.uint8)
            batch = [
                Question(f'{rng.choice("abcdef") * rng.randrange(1, 9)} mug', rng.choice([*Mode]))
                for _ in range(4)
            ]
            other = np.ascontiguousarray(image[:, ::-1])
            pairs = [*((image, one) for one in batch), (other, batch[0])]
            expected = [kind.plain(loaded, *pair) for pair in pairs]
            first, *some = batch
            told = [engine.answer(image, first), *engine.answer_many(image, some[:-1])]
            tokens = [answer.tokens for answer in told]
            tokens += at_once(engine, [(image, some[-1]), (other, first)])
            asked += len(pairs)
            different += sum(a != b for a, b in zip(tokens, expected, strict=True))
        refused = refused or engine.refused_capture
    engine.close()
    exact = dtype == 'float32'
    found = f'{different} of {asked} answers differ'
    findings.checks.append(
        {
            'name': f'{kind.name} in {dtype} on {device} beside plain greedy decoding',
            'passed': not exact or not different,
            'found': found + ('' if exact else ' (ties are decided by the shape of a pass)'),
        }
    )
    if device != 'cpu':
        name = f'passes of {kind.name} in {dtype} on {device} are captured'
        findings.checks.append({'name': name, 'passed': not refused, 'found': refused})


def at_once(
    engine: LocalEngine, asked: Sequence[tuple[NDArray[np.uint8], Question]]
) -> list[tuple[int, ...]]:
    """The tokens of answers about several frames that wait at the same time."""
    told: dict[int, Answer | Exception] = {}

    def teller(index: int) -> Callable[[Answer | Exception], None]:
        return lambda outcome: told.update({index: outcome})

    waiting = [
        AskedImage(image, [QueuedQuestion(question, teller(index))])
        for index, (image, question) in enumerate(asked)
    ]
    while waiting:
        engine.answer_frames(waiting.pop(0), lambda: waiting.pop(0) if waiting else None)
    answers = []
    for index in range(len(asked)):
        outcome = told[index]
        if isinstance(outcome, Exception):
            raise outcome
        answers.append(outcome.tokens)
    return answers


def speed(findings: Findings, kind: Kind, device: str, quantize: str, repeats: int) -> None:
    """All cases of a shape, beside their floors."""
    tiny = device == 'cpu'
    dtype = torch.float32 if tiny else torch.bfloat16
    loaded = (kind.tiny if tiny else kind.whole)(Made(device, dtype, quantize=quantize))
    size = TINY_SIZE if tiny else SIZE
    weights = quantize if quantize != 'none' else str(dtype)[6:]
    shape = f'{kind.shape}, tiny' if tiny else kind.shape
    bench = Generating(loaded) if isinstance(loaded, LoadedMolmo) else Pictures(loaded)
    rates = measure_rates(loaded.model)
    if not tiny:  # whatever is done once
        for case in SPOKEN:
            bench.run(case, size)
        cameras(bench, loaded, size, 1)
    rows: list[dict[str, Any]] = []
    with power() as watts:
        for case in SPOKEN:
            runs = [bench.run(case, size) for _ in range(repeats)]
            answers, seconds = runs[-1][0], statistics.median(spent for _, spent in runs)
            passes = max(answer.passes for answer in answers)
            flops, read = kind.cost(loaded, answers[-1].work, passes)
            rows.append(
                {
                    'case': case.name,
                    'passes': passes,
                    'ms': 1e3 * seconds,
                    'floor_ms': 1e3 * (flops / rates.flops + read / rates.bytes),
                    'tokens_per_second': sum(len(a.tokens) for a in answers) / seconds,
                }
            )
        if isinstance(bench, Generating):
            generated = statistics.median(bench.generate(size)[0] for _ in range(repeats))
            rows.append({'case': '`generate`, 27 passes', 'passes': 27, 'ms': 1e3 * generated})
        rows += cameras(bench, loaded, size, repeats)
    findings.timings += [{'shape': shape, 'weights': weights, **row} for row in rows]
    findings.machine[f'rates, {shape}, {weights}'] = (
        f'{rates.flops / 1e12:.1f} TFLOP/s, {rates.bytes / 1e9:.0f} GB/s'
    )
    if watts:
        findings.machine[f'power, {shape}, {weights}'] = f'{statistics.median(watts):.0f} W'
    if bench.engine.refused_capture:
        why = bench.engine.refused_capture
        findings.left_out.append(f'{shape}, {weights}: passes are not captured: {why}')
    bench.engine.close()


def products(findings: Findings, shape: str, device: str, repeats: int) -> None:
    """A product with one matrix, packed in every way that there is here."""
    rows, dtype = (
        (TINY_PRODUCT_ROWS, torch.float32) if device == 'cpu' else (PRODUCT_ROWS, torch.bfloat16)
    )
    for told in measure(SHAPES[shape], dtype, torch.device(device), rows, repeats):
        if told.absent:
            findings.left_out.append(f'product of {shape}, {told.name}: {told.absent}')
        if not told.seconds:
            continue
        findings.products.append(
            {
                'shape': shape,
                'way': told.name,
                'bytes_a_weight': told.held,
                'error': told.error,
                'captured': told.captured,
                'us': {str(count): 1e6 * seconds for count, seconds in told.seconds.items()},
            }
        )


def cameras(
    bench: Pictures, loaded: Loaded, size: tuple[int, int], repeats: int
) -> list[dict[str, Any]]:
    """A question about each of several pictures: until all are told, in turn and at once."""
    rows = []
    for known in (False, True):
        for together in (False, True):
            runs = [
                measured(bench.engine, bench.pairs(size, known), together, clock_of(loaded.model))
                for _ in range(repeats)
            ]
            pictures, way = ('known' if known else 'new'), ('at once' if together else 'in turn')
            rows.append(
                {
                    'case': f'{CAMERAS} cameras, {pictures} pictures, {way}',
                    'passes': runs[-1][2],
                    'ms': 1e3 * statistics.median(until_all for _, until_all, _ in runs),
                }
            )
    return rows


class Pictures(Asking):
    """As `Asking`, with pictures that need no renderer."""

    def table(self, width: int, height: int) -> tuple[NDArray[np.uint8], str]:
        self._asked += 1
        pixels = np.random.default_rng(self._asked)
        return pixels.integers(0, 256, (height, width, 3), dtype=np.uint8), 'red mug'

    def pairs(self, size: tuple[int, int], known: bool) -> list[tuple[NDArray[np.uint8], Question]]:
        """A picture of each camera, which was asked about before or not, and a question."""
        pairs = []
        for _ in range(CAMERAS):
            image, thing = self.table(*size)
            if known:
                self.engine.answer(image, self.questions(thing, 1)[0])
            pairs.append((image, self.questions(thing, 1)[0]))
        return pairs


class Generating(Pictures, Bench):
    """And with `generate`."""


def later_kinds() -> tuple[Kind, ...] | None:
    """Molmo2 and MolmoPoint; None where transformers knows none."""
    try:
        from benchmarks.gpu_molmo2 import molmo2, molmo_point
    except ImportError:
        return None
    return molmo2(), molmo_point()


@contextmanager
def power() -> Iterator[list[float]]:
    """Watts that nvidia-smi tells meanwhile, one figure a second; none without it."""
    watts: list[float] = []
    program = shutil.which('nvidia-smi')
    if program is None:
        yield watts
        return
    query = [program, '--query-gpu=power.draw', '--format=csv,noheader,nounits', '-l', '1']
    with subprocess.Popen(query, stdout=subprocess.PIPE, text=True) as reading:
        try:
            yield watts
        finally:
            reading.terminate()
            for line in reading.communicate()[0].splitlines():
                try:
                    watts.append(float(line))
                except ValueError:  # a card that does not tell
                    continue


def page(findings: Findings) -> str:
    """The findings as Markdown."""
    lines = ['# A session on a GPU', '', *(f'* {k}: {v}' for k, v in findings.machine.items())]
    lines += ['', '| check | | |', '|---|---|---|']
    lines += [
        f'| {check["name"]} | {"passed" if check["passed"] else "FAILED"} | {check["found"]} |'
        for check in findings.checks
    ]
    lines += [
        '',
        '| shape | weights | case | passes | ms | floor, ms | tokens a second |',
        '|---' * 7 + '|',
    ]
    for row in findings.timings:
        floor, tokens = row.get('floor_ms'), row.get('tokens_per_second')
        lines.append(
            f'| {row["shape"]} | {row["weights"]} | {row["case"]} | {row["passes"]} '
            f'| {row["ms"]:.1f} '
            f'| {"" if floor is None else f"{floor:.1f}"} '
            f'| {"" if tokens is None else f"{tokens:.0f}"} |'
        )
    lines += product_lines(findings.products)
    if findings.left_out:
        lines += ['', 'Left out:', '', *(f'* {what}' for what in findings.left_out)]
    return '\n'.join([*lines, ''])


def product_lines(found: Sequence[dict[str, Any]]) -> list[str]:
    """What a product with one matrix takes, in microseconds, by how many rows are multiplied."""
    if not found:
        return []
    rows = list(dict.fromkeys(count for one in found for count in one['us']))
    head = ' | '.join(f'us, {count} rows' for count in rows)
    lines = ['', f'| product | way | bytes a weight | error | captured | {head} |']
    lines.append('|---' * (5 + len(rows)) + '|')
    for one in found:
        times = (one['us'].get(count) for count in rows)
        cells = ' | '.join('' if spent is None else f'{spent:.0f}' for spent in times)
        lines.append(
            f'| {one["shape"]} | {one["way"]} | {one["bytes_a_weight"]:.3f} '
            f'| {100 * one["error"]:.2f} % | {"yes" if one["captured"] else "no"} | {cells} |'
        )
    return lines


def run(minutes: float, out: Path, repeats: int = 10, questions: int = 64) -> Findings:
    """The whole session; writes gpu.json and gpu.md after each step."""
    gpus = [f'cuda:{index}' for index in range(torch.cuda.device_count())]
    name = torch.cuda.get_device_name(0) if gpus else platform.processor() or platform.machine()
    machine = {
        'device': f'{name}, {len(gpus)} GPUs',
        'software': f'Python {platform.python_version()}, torch {torch.__version__}, '
        f'transformers {transformers.__version__}',
    }
    findings = Findings(machine)
    session = Session(findings, 60 * minutes)
    torch.backends.cuda.matmul.allow_tf32 = False
    out.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        (out / 'gpu.json').write_text(json.dumps(asdict(findings), indent=2))
        (out / 'gpu.md').write_text(page(findings))

    def step(kind: str, name: str, work: Callable[[], None]) -> None:
        session.step(kind, name, work)
        write()

    first = gpus[0] if gpus else 'cpu'
    later = later_kinds()
    if later is None:
        findings.left_out.append(
            f'Molmo2 and MolmoPoint: transformers {transformers.__version__} knows none, 5.20 does'
        )
    for dtype in TYPES:
        step('goldens', f'goldens in {dtype}', partial(goldens, findings, first, dtype))
    kinds = [*map(molmo, FAMILIES), *(later or ())]
    for device in gpus[:1] + gpus[-1:] * (len(gpus) > 1) if gpus else ['cpu']:
        for kind, dtype in product(kinds, TYPES):
            step(
                'identity',
                f'identity of {kind.name} in {dtype} on {device}',
                partial(identity, findings, device, kind, dtype, questions),
            )
    # Every shape once before any is quantised.
    for quantize in QUANTIZATIONS:
        for kind in (molmo('qwen2'), *(later or ())):
            name = f'speed of {kind.shape}, quantize {quantize}'
            try:
                check_available(quantize)
            except ValueError as error:
                findings.left_out.append(f'{name}: {error}')
                continue
            step('speed', name, partial(speed, findings, kind, first, quantize, repeats))
        if quantize == 'none':
            for shape in PRODUCTS if gpus else TINY_PRODUCTS:
                work = partial(products, findings, shape, first, repeats)
                step('products', f'products of {shape}', work)
    write()
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--minutes', type=float, default=10)
    parser.add_argument('--out', type=Path, default=Path('build/gpu'))
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument('--questions', type=int, default=64, help='of each identity check')
    arguments = parser.parse_args()
    findings = run(arguments.minutes, arguments.out, arguments.repeats, arguments.questions)
    print(page(findings))
    raise SystemExit(0 if findings.right else 1)


if __name__ == '__main__':
    main()
