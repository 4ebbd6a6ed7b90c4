# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint that denies more readily: the odds of its first word are moved by a constant.

    python -m training.caution CHECKPOINT FOLDER --shift 2.2

Of what no table has it believes less than of what is there, but often more than one half. In the
head, the rows of the words that a denial begins with are moved along the direction in which the
states after a question have one value: nothing else of the answer changes. The direction is fitted
on rendered tables that it was taught with (seeds 10,000 and on).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from molmo_ros.engine.presence import Openings
from molmo_ros.model.loading import LoadedMolmo, load_molmo
from molmo_ros.model.options import DTYPES, LoadOptions
from molmo_ros.model.preprocessing import preprocess
from molmo_ros.pointing import Style
from molmo_ros.pointing.prompts import prompt_for
from molmo_ros.tabletop.samples.data_set import rich_samples
from training.export import STORED_AS, write
from training.nouns import TAUGHT
from training.questions import WORLD
from training.wordings import stranger

_STRANGERS = 6  # asked of each table, beside what is there
_RIDGE = 1e-3  # of the mean square of a state: keeps the direction short


@torch.no_grad()
def states(loaded: LoadedMolmo, seeds: range) -> Iterator[Tensor]:
    """The states (hidden,) that the first words of answers are written from."""
    model, tokenizer = loaded.model, loaded.tokenizer
    samples = rich_samples(seeds, per_topic=1)
    for image_id, group in groupby(samples, key=lambda sample: sample.image_id):
        known = list(group)
        rng = random.Random(image_id)
        strange = [stranger(TAUGHT, (), WORLD, rng) for _ in range(_STRANGERS)]
        inputs = preprocess(known[0].image(), loaded.preprocessor, tokenizer.image, model.device)
        image = model.embed_image(inputs, tokenizer.eos)
        prompts = [prompt_for(one.query, one.mode) for one in known]
        prompts += [prompt_for(one.query, one.mode) for one in strange]
        for prompt in prompts:
            ids = tokenizer.encode_question(prompt)
            asked = model.embed(torch.tensor(ids))
            yield model.decode(torch.cat([image, asked], 1))[0, -1]


def direction(of: Tensor) -> Tensor:
    """(hidden,) u with u @ state as near 1 as can be for all states (n, hidden)."""
    square = of.T @ of
    ridge = _RIDGE * square.diagonal().mean() * torch.eye(len(square))
    return torch.linalg.solve(square + ridge, of.sum(0))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('folder', type=Path, help='what is written')
    parser.add_argument('--shift', type=float, required=True, help='of the odds, as a logarithm')
    parser.add_argument('--seeds', default='10000:10060', metavar='A:B')
    arguments = parser.parse_args()
    loaded = load_molmo(arguments.checkpoint, LoadOptions('cpu', 'float32'))
    first, last = map(int, arguments.seeds.split(':'))
    of = torch.stack(list(states(loaded, range(first, last))))
    u = direction(of)
    values = of @ u
    print(f'{len(of)} states: {values.mean():.3f} +- {values.std():.3f} along the direction')
    denying = list(Openings.of(loaded.tokenizer, Style.MOLMO).denying)
    with torch.no_grad():
        loaded.model.lm_head.weight[denying] += arguments.shift * u
    write(loaded.model, arguments.checkpoint, arguments.folder, DTYPES[STORED_AS])


if __name__ == '__main__':
    main()
