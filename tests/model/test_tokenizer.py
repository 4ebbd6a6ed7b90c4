# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ids that stand for an image are read from a checkpoint's tokenizer, in either layout."""

import json

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from molmo_ros.model.config import UnsupportedCheckpoint
from molmo_ros.model.loading import load_molmo
from molmo_ros.model.preprocessing import ImageTokens
from molmo_ros.model.tokenizer import load_tokenizer

END = '<|endoftext|>'
IMAGE = ('<im_start>', '<im_end>', '<im_patch>', '<im_col>', '<|image|>')
# Every byte as byte-level BPE spells it.
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


@pytest.fixture
def files(tmp_path):
    """7B-D's layout: vocab.json, merges.txt, added_tokens.json; code is named, but absent."""

    def write(added=(END, *IMAGE), first=300):
        ids = {name: first + index for index, name in enumerate(added)}
        (tmp_path / 'vocab.json').write_text(json.dumps({b: i for i, b in enumerate(BYTES)}))
        (tmp_path / 'merges.txt').write_text('#version: 0.2\n')
        (tmp_path / 'added_tokens.json').write_text(json.dumps(ids))
        described = {
            str(i): {'content': name, 'special': True, 'normalized': False}
            | dict.fromkeys(('lstrip', 'rstrip', 'single_word'), False)
            for name, i in ids.items()
        }
        (tmp_path / 'tokenizer_config.json').write_text(
            json.dumps(
                {
                    'auto_map': {'AutoProcessor': 'preprocessing_molmo.MolmoProcessor'},
                    'tokenizer_class': 'Qwen2Tokenizer',
                    'added_tokens_decoder': described,
                    'eos_token': END if END in added else None,
                    'bos_token': None,
                }
            )
        )
        return tmp_path

    return write


def test_the_layout_of_7b_d(files):
    filler = [f'|<EXTRA_TOKENS_{index}>|' for index in range(len(BYTES), 300)]
    tokenizer = load_tokenizer(files((*filler, END, *IMAGE), first=len(BYTES)))
    assert tokenizer.image == ImageTokens(start=301, end=302, patch=303, column=304)
    assert tokenizer.eos == 300
    text = ' <point x="61.5" y="40.4" alt="mug">mug</point>'
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_layout_of_molmoe(tmp_path):
    """tokenizer.json says it all; ids of a sibling's added_tokens.json do not count."""
    backend = tokenizers.Tokenizer(models.BPE({b: i for i, b in enumerate(BYTES)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([END, *IMAGE])
    backend.save(str(tmp_path / 'tokenizer.json'))
    sibling = {name: 100278 + index for index, name in enumerate(IMAGE)}
    (tmp_path / 'added_tokens.json').write_text(json.dumps(sibling))
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps({'eos_token': END}))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.image == ImageTokens(start=257, end=258, patch=259, column=260)
    assert tokenizer.eos == 256


def test_the_question_is_worded_as_in_the_releases(files):
    filler = [f'|<EXTRA_TOKENS_{index}>|' for index in range(len(BYTES), 300)]
    tokenizer = load_tokenizer(files((*filler, END, *IMAGE), first=len(BYTES)))
    ids = tokenizer.encode_question('Point to <im_patch> and <|endoftext|>.')
    assert tokenizer.decode(ids) == ' User: Point to <im_patch> and <|endoftext|>. Assistant:'
    assert tokenizer.image.patch not in ids and tokenizer.eos not in ids


def test_a_tokenizer_of_something_else_is_refused(files, tmp_path):
    with pytest.raises(UnsupportedCheckpoint, match='<im_col>'):
        load_tokenizer(files((END, '<im_start>', '<im_end>', '<im_patch>'), first=len(BYTES)))
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(UnsupportedCheckpoint, match='no tokenizer'):
        load_tokenizer(tmp_path)


def test_ids_beyond_the_embeddings_are_refused(files):
    """A tokenizer and a config.json of different checkpoints."""
    folder = files((END, *IMAGE), first=len(BYTES))
    config = {
        'model_type': 'molmo',
        'hidden_size': 64,
        'intermediate_size': 64,
        'num_hidden_layers': 1,
        'num_attention_heads': 2,
        'rope_theta': 1e4,
        'layer_norm_eps': 1e-6,
        'embedding_size': 100,
    }
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(UnsupportedCheckpoint, match='of the same checkpoint'):
        load_molmo(folder)
