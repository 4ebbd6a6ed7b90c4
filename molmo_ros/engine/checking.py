# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Does what answers compute what the reference computes?

`model.checking` looks at transformers' plain classes; here the same image and ids go the engine's
way: its encoder, its decoder with the cache, drafts, several questions in a pass and, on CUDA, what
is captured and replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from molmo_ros.engine.networks import Network, network_of
from molmo_ros.engine.point_decoding import decoder_of
from molmo_ros.engine.writer import Prediction
from molmo_ros.model import checking
from molmo_ros.model.checking import Finding, Report, Subject


def check_checkpoint(
    folder: Path,
    expected_file: Path | None = None,
    device: str = 'auto',
    dtype: str = 'auto',
    quantize: str = 'none',
    on_progress: Callable[[float], None] | None = None,
) -> Report:
    """As `model.checking.check_checkpoint`, and whether the engine's passes agree with it."""
    return checking.check_checkpoint(
        folder, expected_file, device, dtype, quantize, on_progress, check_engine
    )


@torch.inference_mode()
def check_engine(subject: Subject) -> list[Finding]:
    """Put what was checked through the engine's passes."""
    network = network_of(subject.loaded)
    ways = _ways(network, subject.image, subject.ids, len(subject.choices))
    return [_agreement(ways, subject.choices, subject.least)]


def _ways(
    network: Network, image: NDArray[np.uint8], ids: Sequence[int], last: int
) -> dict[str, list[int]]:
    """What the decoder chooses after each of the last of the ids that follow an image, by the way
    that they were read."""
    seen = network.see(image)
    decoder = decoder_of(network, (), (), _row_step(network))
    frame = decoder.hold(seen.tokens)
    # As a question and its draft, with the image.
    (line,) = decoder.begin([ids[:-last]], frame)
    line.drafted = list(ids[-last:])
    ways = {'with the image': _tokens(decoder.read_image(seen.embed(), [line])[0])[1:]}
    # From the cache, beside another question, and one about another frame.
    frame, behind = (decoder.put_image(kept) for kept in 2 * [decoder.image(frame)])
    line, other = decoder.begin([ids[:-last], ids], frame)
    (far,) = decoder.begin([ids[:-last]], behind)
    line.drafted = far.drafted = list(ids[-last:])
    near, _, further = decoder.read([line, other, far])
    ways |= {'from the cache': _tokens(near)[1:], 'behind another frame': _tokens(further)[1:]}
    # One by one; what is captured the first time is replayed from then on.
    decoder.end_questions()
    (line,) = decoder.begin([ids[:-last]], frame)
    decoder.read([line])
    alone = []
    for token in ids[-last:]:
        decoder.settle(line, 0, token)
        alone += _tokens(decoder.read([line])[0])
    return ways | {'one by one': alone}


def _tokens(predictions: Sequence[Prediction]) -> list[int]:
    return [prediction.token for prediction in predictions]


def _row_step(network: Network) -> int:
    return 8 if network.lm_head.weight.is_cuda else 1


def _agreement(ways: dict[str, list[int]], expected: Sequence[int], least: float) -> Finding:
    shares = {
        name: float(np.mean(np.array(ids) == np.array(expected))) for name, ids in ways.items()
    }
    told = ', '.join(f'{share:.1%} {name}' for name, share in shares.items())
    return Finding(
        "the engine's tokens",
        min(shares.values()) >= least,
        f'{told}, of {len(expected)} (at least {least:.0%})',
        shares,
    )
