# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Some of what `python -m benchmarks.hostile_folders` does to folders of the later generations.

Whatever a folder holds, a user reads one sentence that names the file and says what to do. Those of
the first generation are in test_folders.
"""

import pytest

from benchmarks.hostile_folders import CONFIG, CROPS, cases, make_whole, meet

# Of the many ways in which a field can be wrong; a prime, so that every value has its turn.
EVERY = 193


@pytest.fixture(scope='module', params=['molmo2', 'molmo_point'])
def whole(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole') / request.param
    make_whole(request.param, folder)
    return folder


def some_of(folder):
    """Most of what is done to weights, and some of what is done to fields."""
    either = 0
    for case in cases(folder):
        either += case.reads is None
        in_other_words = case.reads and case.name.endswith(('alone', '}'))
        of_fields = case.name.startswith((CONFIG, CROPS)) and either % EVERY == 1
        if case.name.startswith(('weights', 'shards')) or of_fields or in_other_words:
            yield case


def test_each_is_read_or_refused_in_a_sentence_with_a_file_and_a_cure(whole, tmp_path):
    met = {case.name: meet(case, whole, tmp_path) for case in some_of(whole)}
    assert {name: said for name, said in met.items() if said[1]} == {}
    assert sum(not said for said, _ in met.values()) > 4
