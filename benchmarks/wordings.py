# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a checkpoint hears people: the same questions in other words, and what no table has.

    python -m benchmarks.wordings [--checkpoint models/tabletop] [--seeds 9000:9100]

Of every rich table up to 21 questions (three of each type but free space), plain and in twelve
other wordings; a wording that does not suit a question (a plural of what is plural) leaves it out,
and stands beside the plain ones of those that it does suit. Then things that no table has, by
nouns that training never saw, and how far the belief that there is anything comes true.
"""

from __future__ import annotations

import argparse
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

os.environ.setdefault('OMP_NUM_THREADS', '1')

from molmo_ros.engine import Engine, load_engine
from molmo_ros.evaluation.evaluate import Evaluated, evaluate
from molmo_ros.evaluation.metrics import Rate, calibration
from molmo_ros.evaluation.samples import Rule, Sample
from molmo_ros.pointing import Mode
from molmo_ros.tabletop.questions.wording import plural
from molmo_ros.tabletop.samples.data_set import rich_samples
from molmo_ros.tabletop.samples.tables import world_of
from molmo_ros.tabletop.world import RICH
from training.nouns import KEPT
from training.wordings import in_plural, misspelt

PLAIN = 'plain'
STRANGERS = 8  # of each table
SYNONYMS = {
    'mug': 'cup',
    'can': 'tin',
    'pan': 'frying pan',
    'plate': 'dish',
    'duck': 'rubber duck',
    'lamp': 'desk lamp',
    'glass': 'wine glass',
    'brush': 'paintbrush',
    'book': 'novel',
    'box': 'crate',
    'ball': 'sphere',
    'purple': 'violet',
    'red': 'crimson',
    'striped': 'stripy',
    'spotted': 'dotted',
    'checked': 'checkered',
}
VERBS = ('pick up {}', 'find {}', 'where is {}', 'show me {}', 'grasp {}', 'point to {}')
POLITE = ('please point at {}', '{}, please', 'could you find {} please', 'can you see {}')
_WORLD = world_of(RICH)
Wording = Callable[[str, Mode, random.Random], str | None]


def _please(query: str, mode: Mode, rng: random.Random) -> str:
    return rng.choice(POLITE[1:2] if mode is Mode.COUNT else POLITE).format(query)


def _verb(query: str, mode: Mode, rng: random.Random) -> str:
    return (('count {}', 'count the {}') if mode is Mode.COUNT else VERBS)[
        rng.randrange(2 if mode is Mode.COUNT else len(VERBS))
    ].format(query)


def _question(query: str, mode: Mode, rng: random.Random) -> str:
    return f'how many {query} are there?' if mode is Mode.COUNT else f'where is {query}?'


def _article(query: str, mode: Mode, rng: random.Random) -> str | None:
    """Another article, or none."""
    first, _, rest = query.partition(' ')
    if first == 'the':
        return rest
    if first in ('a', 'an'):
        return f'the {rest}'
    return None if first in ('all', 'every', 'each', 'everything') else f'the {query}'


def _synonym(query: str, mode: Mode, rng: random.Random) -> str | None:
    words: Mapping[str, str] = {
        **SYNONYMS,
        **{plural(word): plural(other) for word, other in SYNONYMS.items() if word in _WORLD.kinds},
    }
    known = re.compile(rf'\b({"|".join(words)})\b')
    other = known.sub(lambda match: words[match[0]], query)
    return None if other == query else other


def _plural(query: str, mode: Mode, rng: random.Random) -> str | None:
    """Of one thing: what fits one and is asked for as several."""
    last = query.rpartition(' ')[2]
    single = last in _WORLD.kinds or last in ('object', 'thing', 'item')
    return in_plural(query) if single and not query.startswith(('every', 'each')) else None


def _typo(query: str, mode: Mode, rng: random.Random) -> str | None:
    return misspelt(query, _WORLD, rng)


def _all_at_once(query: str, mode: Mode, rng: random.Random) -> str:
    bare = query.removeprefix('the ')
    return (
        f'Hey, could you count the "{bare}"?'
        if mode is Mode.COUNT
        else (f'Could you find "{query.title()}" for me, please?')
    )


WORDINGS: dict[str, Wording] = {
    'a capital': lambda query, mode, rng: query[0].upper() + query[1:],
    'in capitals': lambda query, mode, rng: query.upper(),
    'in quotes': lambda query, mode, rng: f'"{query}"',
    'please': _please,
    'another article': _article,
    'a verb': _verb,
    'as a question': _question,
    'a full stop': lambda query, mode, rng: f'{query}.',
    'a synonym': _synonym,
    'a plural': _plural,
    'a letter wrong': _typo,
    'all at once': _all_at_once,
}


@dataclass(frozen=True)
class Asked:
    """A sample in one of WORDINGS, or PLAIN, and what came of it."""

    wording: str
    result: Evaluated

    @property
    def right(self) -> bool:
        return self.result.judgement.verdict.right


def questions(samples: list[Sample]) -> Iterator[tuple[str, Sample]]:
    """All wordings of the samples of one table, and what is not there."""
    for sample in samples:
        yield PLAIN, sample
        for name, wording in WORDINGS.items():
            rng = random.Random(f'{sample.id} {name}')
            query = wording(sample.query, sample.mode, rng)
            # What is not asked for by its own name alone means something else in the plural.
            if query is not None and (name != 'a plural' or sample.topic == 'one'):
                yield name, replace(sample, query=query)
    first = samples[0]
    rng = random.Random(f'{first.image_id} strangers')
    for noun in rng.sample(KEPT, STRANGERS):
        article = rng.choice(('the ', 'the ', 'an ' if noun[0] in 'aeiou' else 'a ', ''))
        absent = Sample(
            f'{first.image_id} {noun}',
            first.image_id,
            first.image,
            article + noun,
            Mode.POINT,
            'stranger',
            Rule.FIRST,
            count=0,
        )
        yield 'stranger', absent


def ask(engine: Engine, seeds: range) -> Iterator[Asked]:
    samples = (sample for sample in rich_samples(seeds, per_topic=3) if sample.topic != 'space')
    for _, group in groupby(samples, key=lambda sample: sample.image_id):
        named = list(questions(list(group)))
        results = evaluate(engine, [sample for _, sample in named])
        for (name, _), result in zip(named, results, strict=True):
            yield Asked(name, result)


def share(results: list[Asked]) -> str:
    rate = Rate(sum(one.right for one in results), len(results))
    low, high = (100 * bound for bound in rate.interval)
    return f'{rate.hits}/{rate.n} | {100 * rate.value:.1f} ({low:.1f} to {high:.1f})'


def beliefs(results: list[Asked]) -> list[tuple[float, bool]]:
    """The belief that there is anything, and whether there is, of plain questions and strangers."""
    return [
        (one.result.answer.presence, not one.result.sample.absent)
        for one in results
        if one.wording in (PLAIN, 'stranger')
    ]


def show(results: list[Asked]) -> None:
    plain = {one.result.sample.id: one for one in results if one.wording == PLAIN}
    print('| wording | right | % | plain, of the same | less |\n|---|---|---|---|---|')
    print(f'| {PLAIN} | {share(list(plain.values()))} | | |')
    for name in WORDINGS:
        worded = [one for one in results if one.wording == name]
        same = [plain[one.result.sample.id] for one in worded]
        less = 100 * (sum(one.right for one in same) - sum(one.right for one in worded))
        print(f'| {name} | {share(worded)} | {share(same)} | {less / max(1, len(worded)):.1f} |')
    strangers = [one for one in results if one.wording == 'stranger']
    print(f'\nof what no table has, denied: {share(strangers)}')
    pointed = sorted({one.result.sample.query for one in strangers if not one.right})
    print('pointed at:', ', '.join(pointed))
    told = calibration(beliefs(results))
    print(f'\npresence: error {told.error:.3f}; {told}')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--checkpoint', default='models/tabletop')
    parser.add_argument('--seeds', default='9000:9100', metavar='A:B', help='scenes A to B - 1')
    arguments = parser.parse_args()
    first, last = map(int, arguments.seeds.split(':'))
    engine = load_engine(arguments.checkpoint)
    show(list(ask(engine, range(first, last))))


if __name__ == '__main__':
    main()
