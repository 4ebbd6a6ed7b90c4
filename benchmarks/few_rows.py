# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How fast a few rows are multiplied by the weights of a decoder, on one core.

    python -m benchmarks.few_rows [--dtype bfloat16]

What a pass of an answer takes is the reading of the weights, so the table is of GB/s; the first
column, a sum of all weights, is what memory gives. torch is `functional.linear` (in float32 by MKL,
in bfloat16 by oneDNN), *turned* the same the other way round, oneDNN with the weights as they are
and in its own order, and *here* what `molmo_ros.model.products` does with plain weights, with those
that it holds twice, and with those that it holds in oneDNN's order alone. The ways are tried in
turn, and the least time counts, since other programs are in every figure.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
from torch import Tensor
from torch.nn import functional

from molmo_ros.model.products import Held, Product

# out, in, and how many of them: more than the caches hold.
SHAPES = {
    "7B-D's layers": (37888, 3584, 1),
    "7B-D's attention": (4608, 3584, 4),
    'a tenth of them': (3840, 384, 28),
    'and its head': (152064, 384, 1),
}
Way = Callable[[Tensor], object]
ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 256)


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    options.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32')
    options.add_argument('--repeats', type=int, default=7)
    return options


@torch.inference_mode()
def main() -> None:
    options = parser().parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    for name, (out, width, count) in SHAPES.items():
        dtype = getattr(torch, options.dtype)
        weights = [torch.randn(out, width).to(dtype) for _ in range(count)]
        size = sum(weight.nbytes for weight in weights) / 1e9
        several = ways(weights)
        print(f'\n{name}, {out} x {width}\n')
        print(f'| rows | {" | ".join(several)} |\n{"|---" * (len(several) + 1)}|')
        for rows in ROWS:
            seconds = least(several, torch.randn(rows, width).to(dtype), options.repeats)
            cells = ' | '.join(f'{size / spent:.1f}' for spent in seconds)
            print(f'| {rows} | {cells} |', flush=True)


def ways(weights: list[Tensor]) -> Mapping[str, Way]:
    """Of multiplying rows by each of some weights, and of reading them alone."""
    multiply = torch.ops.mkldnn._linear_pointwise
    ordered = [torch.ops.mkldnn._reorder_linear_weight(weight, 16) for weight in weights]
    here = {held: [Product(weight, held=held) for weight in weights] for held in Held}
    return {
        'sum': lambda x: [weight.sum() for weight in weights],
        'torch': lambda x: [functional.linear(x, weight) for weight in weights],
        'turned': lambda x: [(weight @ x.t()).t().contiguous() for weight in weights],
        'oneDNN': lambda x: [multiply(x, weight, None, 'none', [], '') for weight in weights],
        'in its order': lambda x: [multiply(x, weight, None, 'none', [], '') for weight in ordered],
        **{f'here, {held.name.lower()}': _each(products) for held, products in here.items()},
    }


def _each(products: list[Product]) -> Way:
    return lambda x: [product(x) for product in products]


def least(ways: Mapping[str, Way], x: Tensor, repeats: int) -> list[float]:
    """Seconds of each way."""
    seconds = dict.fromkeys(ways, float('inf'))
    for _ in range(repeats):
        for name, multiply in ways.items():
            begin = time.perf_counter()
            multiply(x)
            seconds[name] = min(seconds[name], time.perf_counter() - begin)
    return list(seconds.values())


if __name__ == '__main__':
    main()
