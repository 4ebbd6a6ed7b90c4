# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One session on a GPU: is what the engine computes there right, and how fast is it.

    python -m benchmarks.gpu --minutes 10 [--out FOLDER]

Right comes first: the goldens in float32 and bfloat16; tiny random checkpoints of every
architecture, all tokens beside plain greedy decoding, through captured passes, on every GPU there
is; whether passes were captured, and why not. Then speed: 7B-D's shape with random weights, in
bfloat16 and quantised, each case beside its floor (FLOPs and bytes at the rates that this device
reached just before) and beside `generate` with the release's 27 passes and growing cache. Neither a
network nor rendering is needed; what a missing package leaves out is said. Without a GPU it runs on
the CPU with a tiny model, which shows that it runs. Writes gpu.json and gpu.md into --out. What
does not fit into --minutes is left out, and said.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from benchmarks.engine import CASES, SEVEN_B_D, Bench, cost, measure_rates
from benchmarks.engine_checks import plain_tokens
from benchmarks.random_molmo import (
    IMAGE_TOKENS,
    ONE_POINT,
    POINTS,
    TINY_PREPROCESSOR,
    random_molmo,
    tilt,
    tiny_config,
    tiny_tokenizer,
)
from molmo_ros.engine import Question
from molmo_ros.engine.local import LocalEngine
from molmo_ros.model.checking import check_checkpoint
from molmo_ros.model.config import MolmoConfig
from molmo_ros.model.loading import LoadedMolmo
from molmo_ros.model.preprocessing import ImageTokens, PreprocessorConfig
from molmo_ros.model.quantization import QUANTIZATIONS, check_available, quantize_weight
from molmo_ros.model.tokenizer import MolmoTokenizer
from molmo_ros.pointing import Mode

GOLDENS = Path(__file__).parents[1] / 'tests/model/goldens'
FAMILIES = ('qwen2', 'olmo2', 'olmoe')
SPOKEN = (CASES[0], CASES[1], CASES[2], CASES[5], CASES[8])
SIZE = (640, 480)


@dataclass
class Findings:
    """What a session found: checks that passed or failed, timings, and what was left out."""

    machine: dict[str, str]
    checks: list[dict[str, Any]] = field(default_factory=list)
    timings: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return all(check['passed'] for check in self.checks)


class Session:
    """Does one step after the other while there is time; a step that fails is a finding."""

    def __init__(self, findings: Findings, seconds: float) -> None:
        self.findings, self._end = findings, time.monotonic() + seconds

    def step(self, name: str, work: Callable[[], None]) -> None:
        if time.monotonic() > self._end:
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


def goldens(findings: Findings, device: str, dtype: str) -> None:
    """The four releases' tiny checkpoints beside what the reference computed."""
    for folder in sorted(path for path in GOLDENS.iterdir() if (path / 'config.json').is_file()):
        if json.loads((folder / 'config.json').read_text()).get('model_type') != 'molmo':
            continue
        report = check_checkpoint(folder, folder / 'expected.safetensors', device, dtype)
        name = f'{folder.name} in {dtype} on {device}'
        findings.checks.append({'name': name, 'passed': report.passed, 'found': ''})


def identity(findings: Findings, device: str, family: str, dtype: str, questions: int) -> None:
    """Tokens of a tiny checkpoint beside plain greedy decoding; in float32 they must be equal."""
    rng, pixels = random.Random(family), np.random.default_rng(1)
    different = asked = 0
    refused = ''
    for noise in (0.02, 0.3):
        config = tiny_config(family)  # type: ignore[arg-type]
        loaded = random_loaded(config, device, getattr(torch, dtype), TINY_PREPROCESSOR, noise)
        engine = LocalEngine(loaded)
        for _ in range(questions // 8):
            image = pixels.integers(0, 256, (rng.randrange(60, 140), 120, 3), dtype=np.uint8)
            batch = [
                Question(f'{rng.choice("abcdef") * rng.randrange(1, 9)} mug', rng.choice([*Mode]))
                for _ in range(4)
            ]
            expected = plain_tokens(loaded, image, batch)
            answers = [engine.answer(image, batch[0]), *engine.answer_many(image, batch[1:])]
            asked += len(batch)
            different += sum(
                answer.tokens != tokens for answer, tokens in zip(answers, expected, strict=True)
            )
        refused = refused or engine.refused_capture
        engine.close()
    exact = dtype == 'float32'
    found = f'{different} of {asked} answers differ'
    findings.checks.append(
        {
            'name': f'{family} in {dtype} on {device} beside plain greedy decoding',
            'passed': not exact or not different,
            'found': found + ('' if exact else ' (ties are decided by the shape of a pass)'),
        }
    )
    if device != 'cpu':
        name = f'passes of {family} in {dtype} on {device} are captured'
        findings.checks.append({'name': name, 'passed': not refused, 'found': refused})


def speed(
    findings: Findings, config: MolmoConfig, device: str, quantize: str, repeats: int
) -> None:
    """All cases of a shape, beside their floors."""
    tiny = config.vision.image_size < 336
    dtype = torch.float32 if device == 'cpu' else torch.bfloat16
    preprocessor = TINY_PREPROCESSOR if tiny else PreprocessorConfig()
    loaded = random_loaded(config, device, dtype, preprocessor, 0.02, quantize)
    size = (120, 90) if tiny else SIZE
    bench = Pictures(loaded)
    rates = measure_rates(loaded.model)
    for case in SPOKEN:
        bench.run(case, size)
    with power() as watts:
        for case in SPOKEN:
            runs = [bench.run(case, size) for _ in range(repeats)]
            answers, seconds = runs[-1][0], statistics.median(spent for _, spent in runs)
            passes = max(answer.passes for answer in answers)
            flops, read = cost(loaded, answers[-1].work, passes)
            findings.timings.append(
                {
                    'weights': quantize if quantize != 'none' else str(dtype)[6:],
                    'case': case.name,
                    'passes': passes,
                    'ms': 1e3 * seconds,
                    'floor_ms': 1e3 * (flops / rates.flops + read / rates.bytes),
                    'tokens_per_second': sum(len(a.tokens) for a in answers) / seconds,
                }
            )
        generated = statistics.median(bench.generate(size)[0] for _ in range(repeats))
    weights = quantize if quantize != 'none' else str(dtype)[6:]
    findings.timings.append(
        {'weights': weights, 'case': '`generate`, 27 passes', 'passes': 27, 'ms': 1e3 * generated}
    )
    findings.machine[f'rates, {weights}'] = (
        f'{rates.flops / 1e12:.1f} TFLOP/s, {rates.bytes / 1e9:.0f} GB/s'
    )
    if watts:
        findings.machine[f'power, {weights}'] = f'{statistics.median(watts):.0f} W'
    bench.engine.close()


class Pictures(Bench):
    """As `Bench`, with pictures that need no renderer."""

    def table(self, width: int, height: int) -> tuple[NDArray[np.uint8], str]:
        self._asked += 1
        pixels = np.random.default_rng(self._asked)
        return pixels.integers(0, 256, (height, width, 3), dtype=np.uint8), 'red mug'


def random_loaded(
    config: MolmoConfig,
    device: str,
    dtype: torch.dtype,
    preprocessor: PreprocessorConfig,
    noise: float,
    quantize: str = 'none',
) -> LoadedMolmo:
    """A model with random weights that writes one point, or points for ever where it is noisy."""
    model = random_molmo(config, 0, torch.device(device), dtype)
    backend = tiny_tokenizer(3 if config.text.family == 'olmo2' else 1)
    tilt(model, backend, [ONE_POINT] if noise < 0.1 else [ONE_POINT, POINTS], noise)
    if quantize != 'none':
        for name in [name for name, _ in model.text.layers.named_parameters()]:
            quantize_weight(model.text.layers, name, quantize)
    ids = backend.convert_tokens_to_ids(list(IMAGE_TOKENS[:4]))
    tokenizer = MolmoTokenizer(backend, ImageTokens(*ids), backend.eos_token_id)
    return LoadedMolmo(model, tokenizer, preprocessor)


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
        '| weights | case | passes | ms | floor, ms | tokens a second |',
        '|---' * 6 + '|',
    ]
    for row in findings.timings:
        floor, tokens = row.get('floor_ms'), row.get('tokens_per_second')
        lines.append(
            f'| {row["weights"]} | {row["case"]} | {row["passes"]} | {row["ms"]:.1f} '
            f'| {"" if floor is None else f"{floor:.1f}"} '
            f'| {"" if tokens is None else f"{tokens:.0f}"} |'
        )
    if findings.left_out:
        lines += ['', 'Left out:', '', *(f'* {what}' for what in findings.left_out)]
    return '\n'.join([*lines, ''])


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

    def step(name: str, work: Callable[[], None]) -> None:
        session.step(name, work)
        (out / 'gpu.json').write_text(json.dumps(asdict(findings), indent=2))
        (out / 'gpu.md').write_text(page(findings))

    first = gpus[0] if gpus else 'cpu'
    for dtype in ('float32', 'bfloat16'):
        step(f'goldens in {dtype}', lambda dtype=dtype: goldens(findings, first, dtype))  # type: ignore[misc]
    for device in gpus[:1] + gpus[-1:] * (len(gpus) > 1) if gpus else ['cpu']:
        for family in FAMILIES:
            for dtype in ('float32', 'bfloat16'):
                step(
                    f'identity of {family} in {dtype} on {device}',
                    lambda device=device, family=family, dtype=dtype: identity(  # type: ignore[misc]
                        findings, device, family, dtype, questions
                    ),
                )
    config = SEVEN_B_D if gpus else tiny_config('qwen2')
    for quantize in QUANTIZATIONS:
        try:
            check_available(quantize)
        except ValueError as error:
            findings.left_out.append(f'quantize {quantize}: {error}')
            continue
        step(
            f'speed, quantize {quantize}',
            lambda quantize=quantize: speed(findings, config, first, quantize, repeats),  # type: ignore[misc]
        )
    findings.left_out.append(
        'the shapes of Molmo2 and MolmoPoint: nobody has written them down here'
    )
    (out / 'gpu.json').write_text(json.dumps(asdict(findings), indent=2))
    (out / 'gpu.md').write_text(page(findings))
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
