# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A product with one weight matrix, packed in every way that there is, beside the plain product.

    python -m benchmarks.quantised_products [--shapes 7b-d-down 7b-d-qkv demo-down]
        [--rows 1 4 8 32 800] [--dtypes bfloat16 float32] [--device auto] [--repeats 5]

Ways: 8 and 4 bits as they are multiplied here; the same with the matrix unpacked whole, as 8 bits
are on a GPU; bitsandbytes' own layer; torch's operators for 8 bits, 4 bits (in groups of weights
with a scale and a zero each) and float8; torchao's, where it is installed (it is no dependency).
What cannot be had is named with the reason. Ways take turns; figures are medians, as ratios to the
plain product of the same type: of processor time on a CPU; on a GPU of the time that a replay of a
captured product takes there, or the plain call where it cannot be captured. Before each, eight
times as much other memory is written (128 MB at most), so that weights come from where they do in a
network. "error" is the norm of the difference from the product of the same weights in float64, as a
share of its norm. A way that would take ten seconds by what it took for fewer rows is left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.model import products
from molmo_ros.model.options import DTYPES, choose_device
from molmo_ros.model.quantization import Int8Linear, quantize_weight
from molmo_ros.model.replay import CudaRecorder

SHAPES = {  # rows and width of the matrix
    '7b-d-down': (3584, 18944),
    '7b-d-up': (18944, 3584),
    '7b-d-qkv': (4608, 3584),
    'demo-up': (1024, 256),
    'demo-down': (256, 1024),
}
ROWS = (1, 4, 8, 32, 800)
PATIENCE = 10.0  # seconds
SHORT = 2e-3  # seconds; what takes less on a CPU is done several times
_MOST = 128 << 20  # bytes
Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Way:
    """How a matrix is packed and multiplied with.

    make: from the layer, which it may not change, the product, and the bytes that are held.
    only: the type of a device and the name of a dtype that it is for; empty: any.
    """

    name: str
    make: Callable[[nn.Linear], tuple[Product, int]]
    only: tuple[str, str] = ('', '')


@dataclass
class Measured:
    """Of one way: bytes a weight, error, seconds by rows; and why there is nothing, or no more."""

    name: str
    held: float = 0.0
    error: float = 0.0
    seconds: dict[int, float] = field(default_factory=dict)
    captured: bool = False
    absent: str = ''


def bytes_of(*tensors: Tensor) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def plain(linear: nn.Linear) -> tuple[Product, int]:
    return linear, bytes_of(linear.weight)


def here(quantize: str) -> Callable[[nn.Linear], tuple[Product, int]]:
    """As the engine has it."""

    def make(linear: nn.Linear) -> tuple[Product, int]:
        packed = nn.Sequential(nn.Identity(), linear)
        quantize_weight(packed, '1.weight', quantize)
        made = packed[1]
        if isinstance(made, Int8Linear):
            return made, bytes_of(made.codes, made.scale)
        return made, bytes_of_library(made)

    return make


def bytes_of_library(layer: nn.Module) -> int:
    weight = layer.weight
    state = getattr(weight, 'quant_state')  # noqa: B009 (mypy: a parameter has none)
    return bytes_of(weight.data, state.absmax, state.state2.absmax)


def plain_here(linear: nn.Linear) -> tuple[Product, int]:
    """As the node and the commands hold what is large, see `molmo_ros.model.products`."""
    weight = linear.weight.detach()
    return products.Product(weight, held=products.Held.ORDERED), bytes_of(weight)


def int8_whole(linear: nn.Linear) -> tuple[Product, int]:
    made = Int8Linear(linear)
    codes, scale = made.codes, made.scale
    return (
        lambda x: (functional.linear(x, codes.to(x.dtype)) * scale).to(x.dtype),
        bytes_of(codes, scale),
    )


def int8_torch(linear: nn.Linear) -> tuple[Product, int]:
    made = Int8Linear(linear)
    codes, scale = made.codes, made.scale.to(linear.weight.dtype)
    return (
        lambda x: torch.ops.aten._weight_int8pack_mm(x, codes, scale),
        bytes_of(codes, scale),
    )


def int4_library(own_packing: bool) -> Callable[[nn.Linear], tuple[Product, int]]:
    """own_packing: for AVX512-BF16, which the engine leaves off."""

    def make(linear: nn.Linear) -> tuple[Product, int]:
        from bitsandbytes.nn import Linear4bit, Params4bit

        weight = linear.weight.detach()
        out, width = weight.shape
        made = Linear4bit(width, out, bias=False, compute_dtype=weight.dtype, device='meta')
        if own_packing and not made.support_avx512bf16_for_cpu:
            raise RuntimeError('this CPU has no AVX512-BF16')
        made.support_avx512bf16_for_cpu = own_packing
        made.weight = Params4bit(weight, requires_grad=False, quant_type='nf4')
        made.to(weight.device).eval()
        return made, bytes_of_library(made)

    return make


def int4_torch(group: int) -> Callable[[nn.Linear], tuple[Product, int]]:
    """16 even steps between the least and the largest of so many weights."""

    def make(linear: nn.Linear) -> tuple[Product, int]:
        weight = linear.weight.detach().float()
        groups = weight.unflatten(1, (-1, group))
        least, largest = groups.aminmax(dim=-1, keepdim=True)
        step = ((largest - least) / 15).clamp_min(1e-6)
        codes = ((groups - least) / step).round().clamp(0, 15).flatten(1).int()
        both = torch.cat([step, least + 8 * step], dim=-1)  # a code of 8 stands for the second
        scales = both.transpose(0, 1).to(linear.weight.dtype).contiguous()
        aten = torch.ops.aten
        if weight.device.type == 'cpu':
            packed = aten._convert_weight_to_int4pack_for_cpu(codes, 2)
            multiply = aten._weight_int4pack_mm_for_cpu
        else:
            packed = aten._convert_weight_to_int4pack(
                (codes[:, ::2] << 4 | codes[:, 1::2]).byte(), 8
            )
            multiply = aten._weight_int4pack_mm
        return lambda x: multiply(x, packed, group, scales), bytes_of(packed, scales)

    return make


def float8_torch(linear: nn.Linear) -> tuple[Product, int]:
    """A scale a row of the weights and of what they are multiplied with."""
    most = torch.finfo(torch.float8_e4m3fn).max

    def rounded(x: Tensor) -> tuple[Tensor, Tensor]:
        scale = x.abs().amax(dim=-1, keepdim=True).float().clamp_min(1e-12) / most
        return (x / scale).to(torch.float8_e4m3fn), scale

    codes, scale = rounded(linear.weight.detach())
    codes, scale = codes.t(), scale.t()

    def product(x: Tensor) -> Tensor:
        small, scale_of_x = rounded(x)
        made: Tensor = torch._scaled_mm(small, codes, scale_of_x, scale, out_dtype=x.dtype)
        return made

    return product, bytes_of(codes, scale)


def torchao(config: str, **options: object) -> Callable[[nn.Linear], tuple[Product, int]]:
    def make(linear: nn.Linear) -> tuple[Product, int]:
        try:
            import torchao.quantization as library
        except ImportError as error:
            raise RuntimeError('torchao is not installed') from error
        model = nn.Sequential(nn.Linear(*linear.weight.shape[::-1], bias=False, device='meta'))
        model[0].weight = nn.Parameter(linear.weight.detach().clone(), requires_grad=False)
        library.quantize_(model, getattr(library, config)(**options))
        weight = model[0].weight
        parts = [getattr(weight, name, None) for name in weight.tensor_data_names]
        return model, bytes_of(*(part for part in parts if part is not None))

    return make


WAYS = (
    Way('plain', plain),
    Way('plain, here', plain_here, ('cpu', '')),
    Way('int8, here', here('int8')),
    Way('int8, cast whole', int8_whole),
    Way('int8, torch (`_weight_int8pack_mm`)', int8_torch),
    Way('int8, torchao', torchao('Int8WeightOnlyConfig')),
    Way('float8, torch (`_scaled_mm`)', float8_torch),
    Way('int4, here', here('int4')),
    Way('int4, bitsandbytes', int4_library(False)),
    Way('int4, bitsandbytes packed for AVX512-BF16', int4_library(True), ('cpu', '')),
    *(Way(f'int4, torch, groups of {n}', int4_torch(n)) for n in (32, 64, 128)),
    Way(
        'int4, torchao, groups of 64',
        torchao('Int4WeightOnlyConfig', group_size=64, int4_packing_format='tile_packed_to_4d'),
        ('', 'bfloat16'),
    ),
)


@torch.inference_mode()
def measure(
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
    rows: Sequence[int] = ROWS,
    repeats: int = 5,
) -> list[Measured]:
    """Every way, the plain product first; of random weights of a trained layer's size."""
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=random) / shape[1] ** 0.5
    inputs = {n: torch.randn(n, shape[1], generator=random).to(device, dtype) for n in rows}
    linear = nn.Linear(*shape[::-1], bias=False, device='meta')
    linear.weight = nn.Parameter(weight.to(device, dtype), requires_grad=False)
    told, products = [], {}
    for way in WAYS:
        result = Measured(way.name)
        told.append(result)
        if any(
            want and want not in has
            for want, has in zip(way.only, (device.type, str(dtype)), strict=True)
        ):
            result.absent = f'only for {" ".join(filter(None, way.only))}'
            continue
        try:
            product, held = way.make(linear)
            x = inputs[rows[0]]
            exact = x.double() @ weight.to(device).double().T
            result.error = float((product(x).double() - exact).norm() / exact.norm())
        except Exception as error:
            result.absent = _why(error)
            continue
        result.held, products[way.name] = held / weight.numel(), product
    other = torch.zeros(min(8 * linear.weight.nbytes, _MOST), dtype=torch.uint8, device=device)
    for count in rows:
        spent: dict[str, list[float]] = {}
        timers = {}
        for result in told:
            fewer, took = max(result.seconds.items(), default=(1, 0.0))
            expected = took * count / fewer if fewer > 1 else took  # one row waits for weights
            if result.absent or expected > PATIENCE:
                continue
            try:
                timers[result.name], result.captured = _timer(
                    products[result.name], inputs[count], device
                )
            except Exception as error:
                result.absent = f'of {count} rows: {_why(error)}'
        for _ in range(repeats):
            for name, timer in timers.items():
                other.add_(1)
                spent.setdefault(name, []).append(timer())
        for result in told:
            if result.name in spent:
                result.seconds[count] = statistics.median(spent[result.name])
    return told


def _timer(product: Product, x: Tensor, device: torch.device) -> tuple[Callable[[], float], bool]:
    """What does a product and tells the seconds, and whether it is captured."""
    product(x)
    if device.type == 'cpu':
        begin = time.process_time()
        product(x)
        times = 1 + int(SHORT / max(time.process_time() - begin, 1e-6))

        def on_cpu() -> float:
            begin = time.process_time()
            for _ in range(times):
                product(x)
            return (time.process_time() - begin) / times

        return on_cpu, False
    work, captured = (lambda: product(x)), True
    try:
        play, kept = CudaRecorder(device).record(work)
    except RuntimeError:
        play, kept, captured = work, x, False

    def on_gpu(_kept: Tensor = kept) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        play()
        end.record()
        torch.cuda.synchronize(device)
        return float(begin.elapsed_time(end)) / 1e3

    return on_gpu, captured


def _why(error: Exception) -> str:
    return f'{type(error).__name__}: {(str(error).splitlines() or [""])[0][:120]}'


def table(told: Sequence[Measured], rows: Sequence[int]) -> list[str]:
    """As Markdown: the plain product in milliseconds, all others as ratios to it."""
    base = told[0].seconds
    lines = [f'| way | bytes a weight | error | {" | ".join(f"{n} rows" for n in rows)} |']
    lines.append('|---' * (3 + len(rows)) + '|')
    for result in told:
        if not result.seconds:
            continue
        times = [
            ''
            if n not in result.seconds
            else f'{1e3 * base[n]:.3g} ms'
            if result is told[0]
            else f'{result.seconds[n] / base[n]:.2f}'
            for n in rows
        ]
        cells = ' | '.join(times)
        lines.append(
            f'| {result.name} | {result.held:.3f} | {100 * result.error:.2f} % | {cells} |'
        )
    return lines


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    options.add_argument(
        '--shapes', nargs='+', default=['7b-d-down', '7b-d-qkv', 'demo-down'], choices=SHAPES
    )
    options.add_argument('--rows', nargs='+', type=int, default=ROWS)
    options.add_argument('--dtypes', nargs='+', default=['bfloat16', 'float32'], choices=DTYPES)
    options.add_argument('--device', default='auto')
    options.add_argument('--repeats', type=int, default=5)
    return options


def main() -> None:
    options = parser().parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    device = choose_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else platform.processor()
    threads = torch.get_num_threads()
    print(f'{name or platform.machine()}, {threads} threads, torch {torch.__version__}')
    for shape in options.shapes:
        for dtype in options.dtypes:
            told = measure(SHAPES[shape], DTYPES[dtype], device, options.rows, options.repeats)
            rows, width = SHAPES[shape]
            print(f'\n### {shape}, {rows} x {width}, {dtype}\n')
            print('\n'.join(table(told, options.rows)))
            print()
            for result in told:
                if result.absent:
                    print(f'* {result.name}: none ({result.absent})')
                elif device.type == 'cuda' and not result.captured:
                    print(f'* {result.name}: cannot be captured')


if __name__ == '__main__':
    main()
