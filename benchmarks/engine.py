# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an answer costs, stage by stage, beside what it could cost at best and beside `generate`.

    python -m benchmarks.engine --model demo                 the demo checkpoint
    python -m benchmarks.engine --model narrow               7B-D at a tenth of its width
    python -m benchmarks.engine --model 7b-d [--quantize int8]     7B-D's shape (GPU)
    python -m benchmarks.engine --model FOLDER               any checkpoint

Models without a folder have random weights, tilted towards writing one point. Every case is run
--repeats times, in turn with the others; times are medians in milliseconds: elapsed on a GPU, of
the processor on a CPU, where other programs would be in them else. FLOPs and bytes are computed
from shapes; the floor is what they take at the rates this device reached just before, on one large
matrix product and one long read. `generate` is transformers' own on the same weights, with a
growing cache and 27 tokens, as the release runs it.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModelForCausalLM

from benchmarks.random_molmo import IMAGE_TOKENS, ONE_POINT, random_molmo, tilt, tiny_tokenizer
from molmo_ros.engine import Answer, Question
from molmo_ros.engine.local import LocalEngine
from molmo_ros.engine.networks import Loaded
from molmo_ros.engine.requests import STAGES, Stopwatch
from molmo_ros.model.config import MolmoConfig, TextConfig, VisionConfig
from molmo_ros.model.loading import LoadedMolmo, load_molmo
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.options import LoadOptions, choose_device, choose_dtype
from molmo_ros.model.preprocessing import ImageTokens, PreprocessorConfig, preprocess
from molmo_ros.model.quantization import quantize_weight
from molmo_ros.model.tokenizer import MolmoTokenizer
from molmo_ros.pointing import Mode, prompt_for
from molmo_ros.tabletop.world import make_scene, render, truth_of

SIZES = ((640, 480), (1280, 720))
RELEASE_TOKENS = 27
FIRST_SEED = 5000  # of tables that the demo checkpoint was not trained on

SEVEN_B_D = MolmoConfig(
    VisionConfig(),
    TextConfig(
        family='qwen2',
        hidden_size=3584,
        intermediate_size=18944,
        num_layers=28,
        num_heads=28,
        num_kv_heads=4,
        rope_theta=1e6,
        norm_eps=1e-6,
        embedding_size=152064,
        qkv_bias=True,
    ),
    projector_size=18944,
)
NARROW = MolmoConfig(
    VisionConfig(hidden_size=128, intermediate_size=512, num_heads=2),
    replace(SEVEN_B_D.text, hidden_size=384, intermediate_size=1920, num_heads=3, num_kv_heads=1),
    projector_size=1920,
)
SHAPES = {'7b-d': SEVEN_B_D, 'narrow': NARROW}


class Network(Protocol):
    """What is told of a network of any generation."""

    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...


@dataclass(frozen=True)
class Rates:
    """What the device reaches: FLOP/s on a large matrix product, bytes/s on a long read."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Case:
    """Some questions asked together.

    cold: of a frame not seen before; again: and asked of one that differs in one pixel just before.
    """

    name: str
    questions: int
    cold: bool
    again: bool = False


CASES = (
    Case('cold', 1, cold=True),
    Case('same frame', 1, cold=False),
    Case('next frame, all still', 1, cold=True, again=True),
    *(Case(f'cold, {n} questions', n, cold=True) for n in (2, 4, 8)),
    *(Case(f'same frame, {n} questions', n, cold=False) for n in (2, 4, 8)),
)


class Asking:
    """A loaded model of whatever generation, asked in every way."""

    def __init__(self, loaded: Loaded, engine: LocalEngine | None = None) -> None:
        self.engine = engine or LocalEngine(loaded)
        self._asked = 0
        self._clock = clock_of(loaded.model)
        Stopwatch.clock = staticmethod(self._clock)

    def table(self, width: int, height: int) -> tuple[NDArray[np.uint8], str]:
        """A picture, another one at each call, and what is seen best in it."""
        self._asked += 1
        scene = make_scene(FIRST_SEED + self._asked)
        rendering = render(scene, width, height)
        thing = max(truth_of(scene, rendering), key=lambda truth: truth.visible_pixels)
        return rendering.color.copy(), f'{thing.colour} {thing.kind}'

    def questions(self, thing: str, count: int) -> list[Question]:
        """Words never asked before, all of the same length."""
        self._asked += 1
        return [
            Question(f'{thing} {self._asked:04d} {index:02d}', max_points=1)
            for index in range(count)
        ]

    def run(self, case: Case, size: tuple[int, int]) -> tuple[tuple[Answer, ...], float]:
        """Answers and seconds."""
        image, thing = self.table(*size)
        questions = self.questions(thing, case.questions)
        if case.again:
            self.engine.answer_many(image, questions)
            image[0, 0, 0] ^= 1
        if not case.cold:
            self.engine.answer(image, self.questions(thing, 1)[0])
        begin = self._clock()
        answers = self.engine.answer_many(image, questions)
        return answers, self._clock() - begin


class Bench(Asking):
    """A Molmo of the first generation, beside `generate`."""

    def __init__(self, loaded: LoadedMolmo) -> None:
        super().__init__(loaded)
        self.loaded = loaded
        self.generator = _causal_model(loaded.model)

    @torch.inference_mode()
    def generate(self, size: tuple[int, int]) -> tuple[float, float]:
        """Seconds in all, and of those in `generate`."""
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        image, thing = self.table(*size)
        question = self.questions(thing, 1)[0]
        begin = self._clock()
        inputs = preprocess(image, self.loaded.preprocessor, tokenizer.image, model.device)
        suffix = tokenizer.encode_question(prompt_for(question.query, Mode.POINT))
        prompt = model.embed(torch.tensor(suffix, device=model.device))
        embeds = torch.cat([model.embed_image(inputs, tokenizer.eos), prompt], dim=1)
        _synchronise(model)
        middle = self._clock()
        self.generator.generate(
            inputs_embeds=embeds,
            attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long, device=model.device),
            do_sample=False,
            min_new_tokens=RELEASE_TOKENS,
            max_new_tokens=RELEASE_TOKENS,
            pad_token_id=tokenizer.eos,
        )
        _synchronise(model)
        end = self._clock()
        return end - begin, end - middle


def report(bench: Bench, size: tuple[int, int], repeats: int, cases: Sequence[Case]) -> None:
    """Print the tables of one image size."""
    rates = measure_rates(bench.loaded.model)
    _warm(bench, size)
    answers: dict[str, tuple[Answer, ...]] = {}
    seconds: dict[str, list[float]] = defaultdict(list)
    stages: dict[str, list[list[float]]] = defaultdict(list)
    generated: list[tuple[float, float]] = []
    for _ in range(repeats):
        for case in cases:
            answers[case.name], spent = bench.run(case, size)
            seconds[case.name].append(spent)
            timings = answers[case.name][-1].timings
            stages[case.name].append([timings[stage] for stage in STAGES])
        generated.append(bench.generate(size))
    print(f'\n### {size[0]} x {size[1]}\n')
    print(f'{rates.flops / 1e9:.1f} GFLOP/s, {rates.bytes / 1e9:.1f} GB/s measured.\n')
    columns = 'passes', 'crops', 'image tokens', 'text tokens', 'choices', 'GFLOP', 'GB', 'floor'
    print(f'| case | {" | ".join(columns)} | time |')
    print('|---' * 10 + '|')
    for case in cases:
        passes = max(answer.passes for answer in answers[case.name])
        work = answers[case.name][-1].work
        flops, read = cost(bench.loaded, work, passes)
        floor = flops / rates.flops + read / rates.bytes
        print(
            f'| {case.name} | {passes} | {work["crops"]} | {work["image_tokens"]} '
            f'| {work["text_tokens"]} | {work["choices"]} | {flops / 1e9:.1f} | {read / 1e9:.2f} '
            f'| {floor * 1e3:.0f} | {statistics.median(seconds[case.name]) * 1e3:.0f} |'
        )
    print(f'\n| case | {" | ".join(STAGES)} | per further pass |')
    print('|---' * (len(STAGES) + 2) + '|')
    for case in cases:
        medians = [
            statistics.median(column) * 1e3 for column in zip(*stages[case.name], strict=True)
        ]
        further = max(max(answer.passes for answer in answers[case.name]) - 1, 1)
        cells = ' | '.join(f'{value:.1f}' for value in medians)
        print(f'| {case.name} | {cells} | {medians[3] / further:.1f} |')
    print()
    _ratios(seconds, generated)


def _ratios(seconds: dict[str, list[float]], generated: list[tuple[float, float]]) -> None:
    """Medians of the ratios of runs that followed each other."""

    def ratio(above: Sequence[float], below: Sequence[float]) -> str:
        return f'{statistics.median(a / b for a, b in zip(above, below, strict=True)):.2f}'

    whole = [total for total, _ in generated]
    print(f'`generate`, {RELEASE_TOKENS} passes: {statistics.median(whole) * 1e3:.0f} ms\n')
    print('| ratio | |')
    print('|---|---|')
    print(f'| generate / cold | {ratio(whole, seconds["cold"])} |')
    print(f'| generate / same frame | {ratio(whole, seconds["same frame"])} |')
    print(f'| cold / same frame | {ratio(seconds["cold"], seconds["same frame"])} |')
    if 'cold, 8 questions' in seconds:
        eight = seconds['cold, 8 questions']
        print(f'| 8 questions cold / one cold | {ratio(eight, seconds["cold"])} |')
        alone = [8 * one for one in seconds['cold']]
        print(f'| 8 questions cold together / 8 cold ones | {ratio(eight, alone)} |')
        eight, one = seconds['same frame, 8 questions'], seconds['same frame']
        print(f'| 8 on a known frame / one | {ratio(eight, one)} |')


def cost(loaded: LoadedMolmo, work: Mapping[str, int], passes: int) -> tuple[float, float]:
    """FLOPs, and bytes of weights read: what any implementation of these passes must spend."""
    model, vision = loaded.model, loaded.model.config.vision
    patches, width = vision.grid**2 + 1, vision.hidden_size
    blocks = sum(weights_of(block) for block in model.vision.blocks)
    attention = len(model.vision.blocks) * 4 * patches**2 * width
    pooling, projector = model.connector.pooling, model.connector.projector
    pooled = weights_of(pooling.wq) + weights_of(pooling.wo) + weights_of(projector)
    connector = weights_of(pooling.wk) + weights_of(pooling.wv) + pooled / model.config.pool**2
    crop = attention + 2 * patches * (blocks + connector)
    text, head = _active(model), weights_of(model.lm_head)
    rows = work['image_tokens'] + work['text_tokens']
    image = work['image_tokens']
    mixing = model.config.text.num_layers * 2 * image**2 * model.config.text.hidden_size
    flops = work['crops'] * crop + 2 * text * rows + mixing + 2 * head * work['choices']
    seen = bytes_of(model.vision) + bytes_of(model.connector) if work['crops'] else 0
    return flops, seen + passes * (bytes_of(model.text.layers) + bytes_of(model.lm_head))


def _active(model: Molmo) -> float:
    """Weights of the decoder's layers that one token goes through."""
    text = model.config.text
    total = sum(weights_of(layer) for layer in model.text.layers)
    if not text.num_experts:
        return total
    expert = 3 * text.hidden_size * text.intermediate_size
    return total - text.num_layers * expert * (text.num_experts - text.experts_per_token)


def weights_of(module: nn.Module) -> int:
    """How many it has; those that are packed count as what they stand for."""
    states = [(weight, getattr(weight, 'quant_state', None)) for weight in module.parameters()]
    count = sum(one.numel() if state is None else state.shape.numel() for one, state in states)
    return count + sum(part.codes.numel() for part in module.modules() if hasattr(part, 'codes'))


def bytes_of(module: nn.Module) -> int:
    """Of all that it holds."""
    held = (*module.parameters(), *module.buffers())
    return sum(weight.numel() * weight.element_size() for weight in held)


@torch.inference_mode()
def measure_rates(model: Network) -> Rates:
    """What the device reaches, in the model's dtype."""
    clock = clock_of(model)
    cuda = model.device.type == 'cuda'
    side, count = (8192, 1 << 29) if cuda else (1024, 1 << 25)
    a = torch.randn(side, side, device=model.device, dtype=model.dtype)
    x = torch.zeros(count, device=model.device, dtype=torch.float32)

    def best(function: Callable[[], object]) -> float:
        times = []
        for _ in range(6):
            begin = clock()
            function()
            _synchronise(model)
            times.append(clock() - begin)
        return min(times)

    return Rates(2 * side**3 / best(lambda: a @ a), x.nbytes / best(x.sum))


def _warm(bench: Bench, size: tuple[int, int]) -> None:
    """Whatever is done once: kernels are chosen, graphs captured, memory grown."""
    bench.run(Case('', 1, cold=True), size)
    if bench.loaded.model.device.type == 'cuda':
        for case in CASES:
            bench.run(case, size)
        bench.generate(size)


def clock_of(model: Network) -> Callable[[], float]:
    """Seconds elapsed on a GPU, of this process's processor time on a CPU."""
    return time.perf_counter if model.device.type == 'cuda' else time.process_time


def _synchronise(model: Network) -> None:
    if model.device.type == 'cuda':
        torch.cuda.synchronize()


def _causal_model(model: Molmo) -> nn.Module:
    """transformers' own class for text around the same weights."""
    with torch.device('meta'):
        causal = AutoModelForCausalLM.from_config(model.text.config)
    causal.model, causal.lm_head = model.text, model.lm_head
    causal.generation_config.eos_token_id = None
    return causal.eval()


def load(name: str, device: str, dtype: str, quantize: str) -> LoadedMolmo:
    """A shape of SHAPES with random weights, or a folder."""
    if name not in SHAPES:
        folder = Path('models/tabletop') if name == 'demo' else Path(name)
        return load_molmo(folder, LoadOptions(device, dtype, quantize=quantize))
    target = choose_device(device)
    model = random_molmo(SHAPES[name], 0, target, choose_dtype(dtype, target))
    backend = tiny_tokenizer()
    tilt(model, backend, [ONE_POINT])
    if quantize != 'none':
        for name in [name for name, _ in model.text.layers.named_parameters()]:
            quantize_weight(model.text.layers, name, quantize)
    ids = backend.convert_tokens_to_ids(list(IMAGE_TOKENS[:4]))
    tokenizer = MolmoTokenizer(backend, ImageTokens(*ids), backend.eos_token_id)
    return LoadedMolmo(model, tokenizer, PreprocessorConfig())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', default='demo', help='demo, narrow, 7b-d or a folder')
    parser.add_argument('--device', default='auto')
    parser.add_argument('--dtype', default='auto')
    parser.add_argument('--quantize', default='none', choices=('none', 'int8', 'int4'))
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--width', type=int, help='one image size instead of both')
    parser.add_argument('--height', type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    loaded = load(arguments.model, arguments.device, arguments.dtype, arguments.quantize)
    model = loaded.model
    name = torch.cuda.get_device_name() if model.device.type == 'cuda' else platform.processor()
    print(
        f'{arguments.model}, {model.config.text.family}, '
        f'{weights_of(model) / 1e6:.0f} M parameters, '
        f'{str(model.dtype).removeprefix("torch.")}, quantize {arguments.quantize}; '
        f'{name or platform.machine()}, {torch.get_num_threads()} threads, '
        f'torch {torch.__version__}'
    )
    bench = Bench(loaded)
    sizes = [(arguments.width, arguments.height)] if arguments.width else SIZES
    for size in sizes:
        report(bench, size, arguments.repeats, CASES)


if __name__ == '__main__':
    main()
