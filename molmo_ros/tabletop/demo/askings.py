# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the demo asks, and of which tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from molmo_ros.evaluation.samples import Mask, Sample
from molmo_ros.pointing import Mode
from molmo_ros.tabletop.questions import Topic
from molmo_ros.tabletop.samples.data_set import easy_samples, rich_samples, understood_sample
from molmo_ros.tabletop.samples.table_views import TableView, view_of
from molmo_ros.tabletop.world import TABLES

TABLE = 'rich'
"""Which tables `molmo-ros demo` shows if it is not told."""

SEEDS = (5000, 5001, 5002)
ASKED = {
    'easy': (('one', 'one'), ('one', 'one'), ('one', 'one', 'absent')),
    'rich': (('one', 'count', 'space'), ('all', 'relation', 'extreme'), ('part', 'all', 'absent')),
}
"""The topics of the questions about each of SEEDS."""

ASKED_OF_ONE = {'easy': ('one', 'one', 'absent'), 'rich': tuple(topic.value for topic in Topic)}
"""Those about a table of the user's choice."""


@dataclass(frozen=True, eq=False)
class Asking:
    """A question about a view; sample is None where its words say nothing that can be judged."""

    view: TableView
    query: str
    sample: Sample | None

    @property
    def mode(self) -> Mode:
        """Whether to point or to count."""
        return self.sample.mode if self.sample else Mode.POINT

    @property
    def label(self) -> str:
        """The words, and what they ask for where they do not say."""
        if self.mode is Mode.COUNT:
            return f'how many {self.query}'
        absent = self.sample is not None and self.sample.absent
        return f'{self.query} (not there)' if absent else self.query

    @property
    def masks(self) -> Sequence[Mask]:
        """Of all that is asked for."""
        return self.sample.masks() if self.sample and self.sample.masks else ()


def askings_about(
    table: str, seeds: Sequence[int] = SEEDS, queries: Sequence[str] | None = None
) -> list[Asking]:
    """What to ask about those tables, one after the other: `queries` of each, or what is fixed."""
    askings: list[Asking] = []
    topics = ASKED[table] if len(seeds) > 1 else (ASKED_OF_ONE[table],)
    for seed, wanted in zip(seeds, topics, strict=True):
        view = view_of(seed, TABLES[table])
        if queries:
            samples = [understood_sample(query, seed, TABLES[table]) for query in queries]
            asked = list(zip(queries, samples, strict=True))
        else:
            asked = [(sample.query, sample) for sample in _chosen(table, seed, wanted)]
        askings += [Asking(view, query, sample and _kept(sample)) for query, sample in asked]
    return askings


def _chosen(table: str, seed: int, topics: Sequence[str]) -> Iterator[Sample]:
    """The first question of each topic about a table, the next where a topic comes again."""
    left = list(easy_samples([seed]) if table == 'easy' else rich_samples([seed]))
    for topic in topics:
        for sample in left:
            if sample.topic == topic:
                left.remove(sample)
                yield sample
                break


def _kept(sample: Sample) -> Sample:
    """With its masks at hand: those of a few tables are not much."""
    if sample.masks is None:
        return sample
    masks = sample.masks()
    return replace(sample, masks=lambda: masks)
