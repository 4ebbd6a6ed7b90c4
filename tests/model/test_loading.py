# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Opening a checkpoint folder: what is loaded, what is refused, and how much memory it takes."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from molmo_ros.engine import EngineError, fetch_checkpoint, load_engine
from molmo_ros.model import memory, options, unpacking
from molmo_ros.model.checkpoint import key_map, stored_tensors
from molmo_ros.model.config import UnsupportedCheckpoint
from molmo_ros.model.hub import checkpoint_folder
from molmo_ros.model.loading import load_model, read_config
from molmo_ros.model.memory import NotEnoughMemory
from molmo_ros.model.options import LoadOptions
from molmo_ros.model.quantization import Int8Linear, quantize_weight

ROOT = Path(__file__).parents[2]
GOLDENS = Path(__file__).parent / 'goldens'
TOLERANCE = {
    torch.float32: {'atol': 1e-5, 'rtol': 1e-5},
    torch.bfloat16: {'atol': 0.02, 'rtol': 0.02},
}
NAMES = ('molmo-7b-d-tiny', 'molmo-7b-o-tiny', 'molmoe-1b-tiny')


@pytest.fixture
def folder(tmp_path):
    """A copy that a test may damage."""
    copy = tmp_path / 'checkpoint'
    shutil.copytree(GOLDENS / 'molmo-7b-d-tiny', copy)
    return copy


def load(folder, on_progress=None, **options):
    return load_model(folder, read_config(folder), LoadOptions('cpu', **options), on_progress)


def reload(folder, change):
    """Load after a change to the stored tensors."""
    weights = load_file(folder / 'model.safetensors')
    change(weights)
    save_file(weights, folder / 'model.safetensors')
    return load(folder)


@pytest.mark.parametrize('name', NAMES)
def test_what_was_stored_comes_back(name):
    config = read_config(GOLDENS / name)
    stored = load_file(GOLDENS / name / 'model.safetensors')
    ours = stored_tensors(load(GOLDENS / name), config)
    assert set(ours) == set(key_map(config))
    assert all(torch.equal(tensor, stored[key]) for key, tensor in ours.items())


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
def test_weights_have_the_dtype_asked_for(dtype):
    model = load(GOLDENS / 'molmoe-1b-tiny', dtype=dtype)
    assert {weight.dtype for weight in model.parameters()} == {getattr(torch, dtype)}
    assert model.text.rotary_emb.inv_freq.dtype == torch.float32
    assert not model.training and not any(w.requires_grad for w in model.parameters())


def test_shards_are_one_checkpoint(folder):
    weights = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
    halves = {}
    for index, key in enumerate(weights):
        halves.setdefault(names[index % 2], {})[key] = weights[key]
    for name, half in halves.items():
        save_file(half, folder / name)
    index = {key: name for name, half in halves.items() for key in half}
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': index}))
    model = load(folder)
    whole = load(GOLDENS / 'molmo-7b-d-tiny')
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), whole.parameters(), strict=True)
    )
    (folder / names[1]).unlink()
    with pytest.raises(UnsupportedCheckpoint, match=names[1]):
        load(folder)


def test_progress_ends_at_one():
    shares = []
    load(GOLDENS / 'molmo-7b-d-tiny', on_progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1


def test_missing_and_unexpected_keys_are_named(folder):
    def change(weights):
        del weights['model.transformer.blocks.1.attn_out.weight']
        weights['model.transformer.blocks.1.q_norm.weight'] = torch.ones(64)

    with pytest.raises(UnsupportedCheckpoint) as error:
        reload(folder, change)
    assert 'missing: model.transformer.blocks.1.attn_out.weight' in str(error.value)
    assert 'unexpected: model.transformer.blocks.1.q_norm.weight' in str(error.value)


def test_a_wrong_shape_is_named(folder):
    def change(weights):
        weights['model.transformer.ln_f.weight'] = torch.ones(65)

    with pytest.raises(UnsupportedCheckpoint, match=r'ln_f\.weight has shape \(65,\)'):
        reload(folder, change)


def test_the_head_of_molmoe_is_found_under_its_other_name(tmp_path):
    shutil.copytree(GOLDENS / 'molmoe-1b-tiny', tmp_path, dirs_exist_ok=True)
    reload(tmp_path, lambda w: w.update({'model.lm_head.weight': w.pop('lm_head.weight')}))


def test_pickles_are_refused(folder):
    (folder / 'model.safetensors').rename(folder / 'pytorch_model.bin')
    with pytest.raises(UnsupportedCheckpoint, match=r'pytorch_model\.bin.*run code'):
        load(folder)


def test_a_damaged_file_is_refused(folder):
    file = folder / 'model.safetensors'
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(UnsupportedCheckpoint, match='damaged or incomplete'):
        load(folder)


def test_code_that_comes_with_a_checkpoint_is_not_run(folder):
    """config.json's auto_map names modules, and here they are."""
    for module in ('config_molmo', 'modeling_molmo'):
        (folder / f'{module}.py').write_text('raise SystemExit("was run")')
    assert 'auto_map' in json.loads((folder / 'config.json').read_text())
    load(folder)


FETCHING = """
def get_kernel(name, **options):
    raise SystemExit(f'{name} would be fetched')
"""


@pytest.mark.parametrize(
    ('work', 'installed'), [('int8', True), ('int4', True), ('int4', False), ('finetune', True)]
)
def test_no_code_is_fetched_and_nobody_is_advised_to_let_it_be(work, installed, tmp_path):
    """On a CPU with AVX512-BF16 bitsandbytes gets a kernel of its own from the internet."""
    if installed:
        (tmp_path / 'kernels.py').write_text(FETCHING)
    code = (
        'import sys; from pathlib import Path; from torch import nn; '
        'from molmo_ros.finetuning.lora import add_lora; '
        'from molmo_ros.model.loading import load_model, read_config; '
        'from molmo_ros.model.options import LoadOptions; '
        'folder, work = Path(sys.argv[1]), sys.argv[2]; '
        'options = LoadOptions("cpu", quantize="none" if work == "finetune" else work); '
        'model = load_model(folder, read_config(folder), options); '
        'work == "finetune" and add_lora(model, [".*q_proj"], 2, 4, 0); '
        'assert "bitsandbytes" in sys.modules; '
        'import importlib.util; print(importlib.util.find_spec("kernels") is not None)'
    )
    run = subprocess.run(
        [sys.executable, '-c', code, str(GOLDENS / 'molmo-7b-d-tiny'), work],
        env=os.environ | {'PYTHONPATH': os.pathsep.join([str(tmp_path), *sys.path[1:]])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    there = installed or find_spec('kernels') is not None  # and seen again by all others
    assert 'kernels' not in run.stderr and run.stdout == f'{there}\n'


def test_a_library_that_fetches_as_it_is_imported_finds_nothing_to_do_it_with(tmp_path):
    """As bitsandbytes does on some processors, on every processor."""
    (tmp_path / 'kernels.py').write_text(FETCHING)
    (tmp_path / 'bitsandbytes.py').write_text(
        'try:\n    from kernels import get_kernel\nexcept ImportError:\n    pass\n'
        'else:\n    get_kernel("a kernel")\n'
    )
    code = (
        'from molmo_ros.model.bits_library import import_bitsandbytes; import_bitsandbytes(); '
        'import kernels, sys; assert "bitsandbytes" in sys.modules and kernels.get_kernel'
    )
    paths = os.pathsep.join([str(tmp_path), *sys.path[1:]])
    subprocess.run([sys.executable, '-c', code], env=os.environ | {'PYTHONPATH': paths}, check=True)


@pytest.mark.parametrize('quantize', ['int8', 'int4'])
@pytest.mark.parametrize('name', NAMES)
def test_quantising_shrinks_the_decoder_and_nothing_else(name, quantize):
    plain = load(GOLDENS / name, dtype='bfloat16')
    packed = load(GOLDENS / name, dtype='bfloat16', quantize=quantize)
    for part in ('vision', 'connector', 'lm_head', 'text.embed_tokens'):
        pairs = zip(
            plain.get_submodule(part).parameters(),
            packed.get_submodule(part).parameters(),
            strict=True,
        )
        assert all(torch.equal(a, b) for a, b in pairs)
    small, large = (size_of(model.text.layers) for model in (packed, plain))
    # These matrices are tiny; scales and tables weigh more than they would.
    assert small < {'int8': 0.65, 'int4': 0.55}[quantize] * large


def size_of(module):
    size = 0
    for weight in [*module.parameters(), *module.buffers()]:
        size += weight.numel() * weight.element_size()
    return size


def test_eight_bits_are_weights_only():
    linear = torch.nn.Linear(256, 128)
    packed = Int8Linear(linear)
    assert packed.codes.dtype == torch.int8
    x = torch.randn(3, 256)
    weight = packed.codes.float() * packed.scale[:, None]
    # Half a step, and what float16 rounds off first.
    assert (weight - linear.weight).abs().max() <= packed.scale.max() * 0.6
    torch.testing.assert_close(packed(x), x @ weight.T + linear.bias, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('width', [192, 130])  # 130: torch's own kernel would read beyond it
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_packed_weights_are_multiplied_in_parts_as_if_they_were_whole(monkeypatch, dtype, width):
    """A part that is left out, or that begins within a block, would be noise in every answer."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    monkeypatch.setattr(unpacking, '_PART', 64 * 192 * 4)
    linear = torch.nn.Linear(width, 150).to(dtype).requires_grad_(False)
    weight, bias = linear.weight.clone(), linear.bias
    for rows, quantize in product((1, 8, 40), ('int8', 'int4')):
        packed = torch.nn.Sequential(torch.nn.Linear(1, 1), linear)
        quantize_weight(packed, '1.weight', quantize)
        if quantize == 'int8':
            whole = packed[1].codes.float() * packed[1].scale[:, None]
        else:  # as the library does both
            codes, state = quantize_4bit(weight, compress_statistics=True, quant_type='nf4')
            whole = dequantize_4bit(codes, state).float()
        x = torch.randn(2, rows, width).to(dtype)
        expected = (x.float() @ whole.T + bias).to(dtype)
        torch.testing.assert_close(packed[1](x), expected, **TOLERANCE[dtype])


def test_an_unknown_quantisation_is_refused():
    with pytest.raises(ValueError, match='none, int8, int4'):
        load(GOLDENS / 'molmo-7b-d-tiny', quantize='int3')


@pytest.mark.parametrize(
    'free, advice',
    [
        (4_000_000, 'would fit: dtype bfloat16 .*quantize int8 .*quantize int4'),
        (2_300_000, 'would fit: quantize int8 .*quantize int4'),
        (1_000_000, 'nothing here would make it fit'),
    ],
)
def test_too_little_memory_is_told_before_loading(monkeypatch, free, advice):
    monkeypatch.setattr(memory, 'available_bytes', lambda device: free)
    begun = []
    with pytest.raises(NotEnoughMemory, match=advice):
        load(GOLDENS / 'molmo-7b-d-tiny', dtype='float32', on_progress=begun.append)
    assert not begun


def test_this_machines_free_memory_is_known():
    assert memory.available_bytes(torch.device('cpu')) > 1e6


def test_a_hub_id_is_not_fetched_unasked(monkeypatch, tmp_path):
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(EngineError, match='molmo-ros fetch allenai/Molmo-7B-D-0924'):
        load_engine('allenai/Molmo-7B-D-0924@main')
    with pytest.raises(EngineError, match='neither a folder nor a hub id'):
        load_engine('/no/such/folder')
    with pytest.raises(EngineError, match='not a hub id'):
        fetch_checkpoint('Molmo-7B-D')


def test_a_fetched_hub_id_needs_no_network(monkeypatch, tmp_path):
    """The hub's cache: a commit's files under snapshots, what a name stands for under refs."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
    commit = '0' * 40
    repository = tmp_path / 'models--owner--tiny'
    shutil.copytree(GOLDENS / 'molmo-7b-d-tiny', repository / 'snapshots' / commit)
    (repository / 'refs').mkdir()
    (repository / 'refs' / 'main').write_text(commit)
    for name in ('owner/tiny', 'owner/tiny@main', f'owner/tiny@{commit}'):
        assert checkpoint_folder(name) == repository / 'snapshots' / commit


def test_devices_and_dtypes_that_are_not_here_are_refused():
    folder = GOLDENS / 'molmo-7b-d-tiny'
    with pytest.raises(ValueError, match='no torch device'):
        load_model(folder, read_config(folder), LoadOptions('gpu'))
    with pytest.raises(ValueError, match='bfloat16'):
        load(folder, dtype='int8')


def test_loading_takes_the_weights_and_one_tensor_more():
    """In a process of its own; `benchmarks/load_time.py` does it with 2 GB and more."""
    command = [sys.executable, '-m', 'benchmarks.load_time', '--gb', '0.4', '--ways', '1', '--json']
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for row in json.loads(result.stdout):
        assert row['peak_over_weights'] < 1.2, row


@pytest.mark.parametrize(('ratio', 'chosen'), [(0.5, torch.bfloat16), (0.9, torch.float32)])
def test_the_fastest_dtype_of_a_cpu_is_found_by_trying(monkeypatch, ratio, chosen):
    """A CPU without AVX512-BF16 or AMX computes bfloat16 slower than float32."""
    seconds = {torch.float32: 1.0, torch.bfloat16: ratio}
    monkeypatch.setattr(options, 'seconds_of', seconds.get)
    assert options.choose_dtype('fastest', torch.device('cpu')) == chosen
    assert options.choose_dtype('auto', torch.device('cpu')) == torch.float32
    assert options.choose_dtype('fastest', torch.device('cuda')) == torch.bfloat16
