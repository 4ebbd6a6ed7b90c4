# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What says that a server writes what the engine here does must notice where it does not."""

from benchmarks.beside_server import Pair, differences, same_tokens
from benchmarks.random_molmo import LIST
from molmo_ros.engine import Answer
from molmo_ros.engine.local import LocalEngine
from molmo_ros.model.loading import load_molmo
from molmo_ros.model.preprocessing import preprocess


class Server:
    """An engine that tells what it reads, as a server does; `lost`: it reads that many ids less."""

    def __init__(self, folder, lost=0):
        self.loaded, self.lost = load_molmo(folder), lost
        self.answer_many = LocalEngine(self.loaded).answer_many

    def prompt_ids(self, image, prompt):
        tokenizer = self.loaded.tokenizer
        ids, _ = preprocess(image, self.loaded.preprocessor, tokenizer.image).after(tokenizer.eos)
        return [*ids.tolist(), *tokenizer.encode_question(prompt)][self.lost :]


def test_other_weights_and_another_prompt_are_found_and_the_same_is_not(checkpoint, capsys):
    folder, other = checkpoint(pieces=LIST), checkpoint(pieces=LIST[1:])
    loaded = load_molmo(folder)
    here = LocalEngine(loaded)
    assert differences(Pair(loaded, here, Server(folder)), 4, 64) == 0
    assert '4 pictures, 8 questions' in capsys.readouterr().out
    assert differences(Pair(loaded, here, Server(folder, lost=1)), 2, 64) == 2
    assert 'others than the' in capsys.readouterr().out
    # Three answers, and with another vocabulary what is read, too.
    assert differences(Pair(loaded, here, Server(other)), 1, 64) == 4
    assert 'logits' in capsys.readouterr().out


def test_only_what_follows_the_last_coordinate_or_was_cut_may_be_missing():
    def wrote(*tokens, points=(), truncated=False):
        return Answer('', points, None, False, 1, {}, tokens, truncated=truncated)

    assert same_tokens(wrote(5, 6, 7, points=('somewhere',)), wrote(5, 6, 7, 8, 9), eos=1)
    assert same_tokens(wrote(5, 6), wrote(5, 6, 1), eos=1)
    assert same_tokens(wrote(5, 6, 7), wrote(5, 6, truncated=True), eos=1)
    assert not same_tokens(wrote(5, 6), wrote(5, 6, 7), eos=1)
    assert not same_tokens(wrote(5, 6, 7, points=('somewhere',)), wrote(5, 6, 8, 8), eos=1)
    assert not same_tokens(wrote(), wrote(), eos=1)
