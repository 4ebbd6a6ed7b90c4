# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders as they come: half, damaged, from other tools, or no checkpoint at all.

Each is one sentence that names the file and says what to do, before anything is allocated for it.
"""

import json
import os
import shutil
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.random_molmo import (
    ONE_POINT,
    random_molmo,
    save_checkpoint,
    tilt,
    tiny_config,
    tiny_tokenizer,
)
from molmo_ros.engine import EngineError, Question, load_engine

WEIGHTS, CONFIG = 'model.safetensors', 'config.json'
TEXTS = (CONFIG, 'preprocessor_config.json', 'tokenizer.json', 'tokenizer_config.json')


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole') / 'tiny'
    tokenizer, model = tiny_tokenizer(), random_molmo(tiny_config('qwen2'), seed=3)
    tilt(model, tokenizer, [ONE_POINT])
    save_checkpoint(model, tokenizer, folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(whole, tmp_path / 'tiny')


def refused(folder, *words):
    with pytest.raises(EngineError) as caught:
        load_engine(folder)
    said = str(caught.value)
    assert '\n' not in said and len(said) < 700
    assert all(word in said for word in words), said


def changed(folder, name=CONFIG, **fields):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize('name', [*TEXTS, WEIGHTS, 'model.safetensors.index.json'])
def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(folder, name):
    path = folder / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    refused(folder, name, 'not a file')
    path.unlink()
    path.symlink_to('/dev/zero')
    refused(folder, name, 'not a file')
    path.unlink()
    path.symlink_to(folder / 'gone')
    refused(folder, name, 'a link to a file that is not there')
    path.unlink()
    path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 99\n')
    refused(folder, name, 'git lfs pull')


@pytest.mark.parametrize('name', TEXTS)
@pytest.mark.parametrize('data', [b'', b'{"a": ', b'\xff\xfe{}', b'[3]', b'null', b'[' * 99_999])
def test_text_that_says_nothing_is_named(folder, name, data):
    (folder / name).write_bytes(data)
    refused(folder, name, 'download it again')


def test_half_a_download_is_told_by_how_much_it_lacks(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:-77])
    refused(folder, WEIGHTS, 'lacks 77')
    (folder / WEIGHTS).write_bytes(data[:300])
    refused(folder, WEIGHTS, 'incomplete')
    (folder / WEIGHTS).write_bytes(struct.pack('<Q', 1 << 61) + data[8:])
    refused(folder, WEIGHTS, 'does not begin as safetensors')
    (folder / WEIGHTS).rename(folder / f'{WEIGHTS}.incomplete')
    refused(folder, f'{WEIGHTS}.incomplete', 'not finished')


@pytest.mark.parametrize(
    'name, size',
    [
        ('max_position_embeddings', 30_000_000),
        ('num_hidden_layers', 700_000_000),
        ('hidden_size', 5 * 10**11),
        ('num_attention_heads', 0),
        ('num_key_value_heads', -2),
        ('intermediate_size', '96'),
        ('embedding_size', True),
        ('vision_config', {'num_layers': 10**9}),
    ],
)
def test_sizes_are_counted_before_anything_is_built_of_them(folder, name, size):
    changed(folder, **{name: size})
    refused(folder, CONFIG, 'num_layers' if name == 'vision_config' else name, 'whole number')


def test_nested_sizes_are_counted_too(folder):
    """As Molmo2 and MolmoPoint have them."""
    changed(folder, model_type='molmo2', text_config={'max_position_embeddings': 25_000_000})
    refused(folder, CONFIG, 'max_position_embeddings 25000000')


@pytest.mark.parametrize('kind', ['molmo', 'molmo2', 'molmo_point'])
@pytest.mark.parametrize('group', [{}, {'text_config': 1}])
def test_what_is_quantised_already_is_refused_in_every_generation(folder, kind, group):
    quantised = {'quantization_config': {'quant_method': 'gptq'}}
    fields = {'text_config': quantised} if group else quantised
    changed(folder, model_type=kind, **fields)
    refused(folder, CONFIG, 'gptq', 'original release')


@pytest.mark.parametrize('kind', ['molmo', 'molmo2', 'molmo_point'])
def test_weights_in_integers_without_a_word_in_the_config_are_refused(folder, kind):
    weights = load_file(folder / WEIGHTS)
    key = next(key for key in weights if weights[key].ndim == 2)
    weights[key] = weights[key].to(torch.int8)
    save_file(weights, folder / WEIGHTS)
    changed(folder, model_type=kind)
    refused(folder, WEIGHTS, key, 'I8', 'quantised')


@pytest.mark.parametrize('value', [float('nan'), float('-inf')])
def test_weights_that_are_no_numbers_are_refused(folder, value):
    """The model would answer without an error, and rubbish."""
    weights = load_file(folder / WEIGHTS)
    key = sorted(key for key in weights if weights[key].ndim == 2)[5]
    weights[key][-1, -1] = value
    save_file(weights, folder / WEIGHTS)
    refused(folder, WEIGHTS, key, 'NaN or infinity')


@pytest.mark.parametrize('names', [3, {'a': '../../etc/passwd'}, {'a': 7}, {}])
def test_an_index_leads_to_files_of_the_folder_and_nowhere_else(folder, names):
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': names}))
    refused(folder, 'model.safetensors.index.json')


@pytest.mark.parametrize(
    'fields, word',
    [
        ({'layer_norm_eps': 'tiny'}, 'layer_norm_eps'),
        ({'rope_theta': -1}, 'rope_theta'),
        ({'num_attention_heads': 3}, 'hidden_size'),
        ({'language': 'English'}, 'language'),
        ({'language': {'synonyms': ['cup']}}, 'language'),
        ({'rope_parameters': {'rope_type': 'yarn', 'rope_theta': 1e4}}, 'yarn'),
        ({'model_type': ['molmo']}, 'model_type'),
    ],
)
def test_what_a_config_cannot_mean_is_named(folder, fields, word):
    changed(folder, **fields)
    refused(folder, word)


@pytest.mark.parametrize(
    'fields', [{'overlap_margins': [9, 9]}, {'image_std': [0, 1, 1]}, {'image_mean': 'grey'}]
)
def test_what_no_image_can_be_cut_by_is_named(folder, fields):
    changed(folder, 'preprocessor_config.json', **fields)
    refused(folder, 'preprocessor_config.json')


def test_a_tokenizer_that_is_none_is_named(folder):
    (folder / 'tokenizer.json').write_text('{"version": "1.0", "model": {"type": "Other"}}')
    refused(folder, 'tokenizer.json')


def test_what_other_tools_write_is_read(folder):
    """Nulls, keys of their own, one side for two, a nested decoder, rope_parameters."""
    fields = json.loads((folder / CONFIG).read_text())
    vision = fields.pop('vision_config') | {'attention_dropout': None, 'hidden_act': 'gelu'}
    kind, theta = fields.pop('model_type'), fields.pop('rope_theta')
    rope = {'rope_type': 'default', 'rope_theta': theta}
    written = {
        'model_type': kind,
        'vision_config': vision,
        'text_config': {**fields, 'rope_theta': None, 'rope_parameters': rope},
        'quantization_config': None,
        'language': None,
        'dtype': 'bfloat16',
    }
    (folder / CONFIG).write_text(json.dumps(written))
    (side, _) = json.loads((folder / 'preprocessor_config.json').read_text())[
        'base_image_input_size'
    ]
    for sides in (side, {'height': side, 'width': side}):
        changed(folder, 'preprocessor_config.json', base_image_input_size=sides, image_mean=None)
        engine = load_engine(folder)
        (point,) = engine.answer(np.zeros((60, 80, 3), np.uint8), Question('mug')).points
        assert (point.u, point.v) == pytest.approx((0.615 * 80, 0.615 * 60))
        engine.close()


def test_a_path_that_is_mistyped_is_told_as_one(folder, monkeypatch):
    beside = folder.with_name('tinny')
    refused(beside, f'{folder.parent} has no tinny', f'did you mean {folder}?')
    refused(folder / WEIGHTS, 'is a file', str(folder))
    monkeypatch.chdir(folder.parent.parent)
    refused(f'{folder.parent.name}/tin', f'did you mean {folder}?', 'molmo-ros fetch')
