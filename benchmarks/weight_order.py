# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a release gains on a CPU by weights that are held in oneDNN's order alone.

    python -m benchmarks.weight_order [--dtype float32] [--layers 4] [--rounds 5]

Two engines in one process, asked in turn: with the weights as they are, as where somebody else
needs the network, too, and in oneDNN's order, as the node and `ask` have them. The decoder is as
wide as 7B-D's, with some of its 28 layers, its head, and random weights tilted towards writing one
point; the encoder is a small one. Times are of the processor, medians in milliseconds, on one core.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict
from dataclasses import replace

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch

from benchmarks.engine import NARROW, SEVEN_B_D, Asking, Case
from benchmarks.random_molmo import IMAGE_TOKENS, ONE_POINT, random_molmo, tilt, tiny_tokenizer
from molmo_ros.engine.local import LocalEngine
from molmo_ros.model.loading import LoadedMolmo
from molmo_ros.model.preprocessing import ImageTokens, PreprocessorConfig
from molmo_ros.model.tokenizer import MolmoTokenizer

SIZE = (640, 480)
CASES = (Case('new picture', 1, cold=True), Case('known picture', 1, cold=False))


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    options.add_argument('--dtype', choices=('float32', 'bfloat16'), default='bfloat16')
    options.add_argument('--layers', type=int, default=4, help='of the decoder')
    options.add_argument('--rounds', type=int, default=5)
    return options


def main() -> None:
    options = parser().parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    asking = {}
    for name, sole in (('as they are', False), ("in oneDNN's order", True)):
        loaded = network(options.layers, getattr(torch, options.dtype))
        begin = time.process_time()
        asking[name] = Asking(loaded, LocalEngine(loaded, sole=sole))
        print(f'{name}: an engine in {time.process_time() - begin:.1f} s')
    seconds = defaultdict(list)
    for _ in range(1 + options.rounds):
        for case in CASES:
            for name, one in asking.items():
                answers, spent = one.run(case, SIZE)
                seconds[case.name, name].append(spent)
    passes = answers[0].passes
    print(f'\n| {options.dtype}, {options.layers} layers | {" | ".join(asking)} | ratio |')
    print('|---|---|---|---|')
    for case in CASES:
        before, after = (statistics.median(seconds[case.name, name][1:]) * 1e3 for name in asking)
        print(f'| {case.name} | {before:.0f} | {after:.0f} | {after / before:.2f} |')
    print(f'\n{passes} passes a known picture')


def network(layers: int, dtype: torch.dtype) -> LoadedMolmo:
    """A decoder as wide as 7B-D's, behind a small encoder."""
    config = replace(NARROW, text=replace(SEVEN_B_D.text, num_layers=layers))
    model, backend = random_molmo(config, 0, 'cpu', dtype), tiny_tokenizer()
    tilt(model, backend, [ONE_POINT])
    ids = backend.convert_tokens_to_ids(list(IMAGE_TOKENS[:4]))
    tokenizer = MolmoTokenizer(backend, ImageTokens(*ids), backend.eos_token_id)
    return LoadedMolmo(model, tokenizer, PreprocessorConfig())


if __name__ == '__main__':
    main()
