# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters beside a checkpoint: added exactly as peft adds them, or refused in a sentence."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from molmo_ros.engine import EngineError, Question, load_engine
from molmo_ros.finetuning.lora import add_lora, save_adapter
from molmo_ros.finetuning.pupils import LAYERS
from molmo_ros.model.adapter import base_digest
from molmo_ros.model.checkpoint import stored_tensors
from molmo_ros.model.loading import load_molmo
from molmo_ros.model.merging import merge_adapter
from molmo_ros.model.options import LoadOptions
from molmo_ros.model.preprocessing import preprocess

FAMILIES = ('qwen2', 'olmo2', 'olmoe')
BASE = 'model.safetensors'
WEIGHTS, CONFIG = 'adapter_model.safetensors', 'adapter_config.json'


@pytest.fixture
def adapter(checkpoint, tmp_path):
    """Makes an adapter that changes every layer that can be taught, by something random."""

    def make(family='qwen2', name='the base'):
        folder = tmp_path / f'adapter of {family}'
        base = checkpoint(family)
        wrapped = add_lora(load_molmo(base).model, [*LAYERS.values()], rank=3, alpha=6, seed=0)
        generator = torch.Generator().manual_seed(1)
        for weight in (p for p in wrapped.parameters() if p.requires_grad):
            weight.data.normal_(std=0.2, generator=generator)
        folder.mkdir()
        save_adapter(wrapped, folder, name, base_digest(base))
        return folder

    return make


@torch.inference_mode()
def logits_of(loaded, picture):
    """At the end of a picture and a question, through transformers' own classes."""
    model = loaded.model
    image = preprocess(picture, loaded.preprocessor, loaded.tokenizer.image)
    question = torch.tensor(loaded.tokenizer.encode_question('Point to the mug'))
    embeds = torch.cat(
        [model.embed_image(image, loaded.tokenizer.eos), model.embed(question)], dim=1
    )
    return model.lm_head(model.decode(embeds)[0, -1]).float()


@pytest.mark.parametrize('family', FAMILIES)
def test_what_is_added_is_what_peft_computes(family, checkpoint, adapter, picture):
    base, folder = checkpoint(family), adapter(family)
    plain = load_molmo(base)
    untouched = logits_of(plain, picture)
    PeftModel.from_pretrained(plain.model, folder)
    by_peft = logits_of(plain, picture)
    merged = logits_of(load_molmo(base, LoadOptions(adapter=folder)), picture)
    assert (by_peft - untouched).abs().max() > 0.1
    assert torch.allclose(merged, by_peft, atol=1e-4)


@pytest.mark.parametrize(
    'family, module',
    [
        ('qwen2', 'model.transformer.blocks.1.att_proj'),
        ('olmo2', 'model.transformer.blocks.0.ff_proj'),
        ('olmoe', 'model.transformer.blocks.2.mlp.experts.3.up_proj'),
    ],
)
def test_adapters_in_the_releases_own_names_are_added_to_the_rows_they_mean(
    family, module, checkpoint, tmp_path
):
    """Tools that train the releases' model files name queries, keys and values as one."""
    base = checkpoint(family)
    stored = load_file(base / 'model.safetensors')
    up, down = torch.randn(len(stored[f'{module}.weight']), 2), torch.randn(2, 64)
    key = f'base_model.model.{module}'
    save_file({f'{key}.lora_A.weight': down, f'{key}.lora_B.weight': up}, tmp_path / WEIGHTS)
    config = {'peft_type': 'LORA', 'r': 2, 'lora_alpha': 4, 'bias': 'none'}
    (tmp_path / CONFIG).write_text(json.dumps(config))
    model = load_molmo(base, LoadOptions(adapter=tmp_path)).model
    stored[f'{module}.weight'] += 2 * up @ down
    loaded = stored_tensors(model, model.config)
    assert len(loaded) > 50  # all but the blocks of the encoder that nothing reads
    assert all(torch.allclose(loaded[name], stored[name], atol=1e-5) for name in loaded)


@pytest.mark.parametrize('quantize', ['int8', 'int4'])
def test_a_quantised_decoder_takes_it_too(quantize, checkpoint, adapter, picture):
    options = LoadOptions(quantize=quantize, adapter=adapter())
    packed = logits_of(load_molmo(checkpoint(), options), picture)
    whole = logits_of(load_molmo(checkpoint(), LoadOptions(adapter=options.adapter)), picture)
    plain = logits_of(load_molmo(checkpoint()), picture)
    assert (packed - whole).norm() < 0.5 * (plain - whole).norm()


def test_the_engine_answers_with_it(checkpoint, adapter, picture):
    texts = []
    for folder in (None, adapter()):
        engine = load_engine(checkpoint(), adapter=folder)
        texts.append(engine.answer(picture, Question('the mug')).text)
        engine.close()
    assert texts[0] != texts[1]


def changed_config(folder, **fields):
    config = json.loads((folder / CONFIG).read_text()) | fields
    (folder / CONFIG).write_text(json.dumps(config))


def changed_weights(folder, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)  # no digest of the base, as peft writes it


def widen(weights):
    name = next(key for key in weights if 'q_proj.lora_B' in key)
    weights[name] = torch.zeros(7, 3)


@pytest.mark.parametrize(
    'damage, complaint',
    [
        (lambda folder: (folder / CONFIG).unlink(), 'molmo-ros finetune'),
        (lambda folder: (folder / WEIGHTS).unlink(), 'only safetensors'),
        (lambda folder: (folder / WEIGHTS).write_bytes(b'no'), 'damaged'),
        (lambda folder: (folder / CONFIG).write_text('{'), 'not JSON'),
        (lambda folder: changed_config(folder, peft_type='IA3'), 'no LoRA'),
        (lambda folder: changed_config(folder, use_dora=True), 'use_dora'),
        (lambda folder: changed_config(folder, bias='all'), 'bias'),
        (lambda folder: changed_config(folder, modules_to_save=['lm_head']), 'modules_to_save'),
        (lambda folder: changed_weights(folder, widen), 'load it beside the base'),
        (
            lambda folder: changed_weights(folder, lambda w: w.update(x=torch.zeros(2))),
            'holds x, and only',
        ),
    ],
)
def test_what_cannot_be_added_is_refused(damage, complaint, checkpoint, adapter):
    folder = adapter()
    damage(folder)
    with pytest.raises(EngineError, match=complaint):
        load_engine(checkpoint(), adapter=folder)


def test_an_adapter_of_another_checkpoint_is_refused_even_where_it_fits(checkpoint, adapter):
    with pytest.raises(EngineError, match=r'made for other weights.*beside the base'):
        load_engine(checkpoint(seed=1), adapter=adapter())
    with pytest.raises(EngineError, match='made for other weights'):
        load_engine(checkpoint('olmo2'), adapter=adapter('olmoe'))


@pytest.mark.parametrize(
    'roundings',
    [(torch.bfloat16,), (torch.float16,), (torch.float16, torch.bfloat16)],
    ids=['bfloat16', 'float16', 'both'],
)
def test_an_adapter_fits_its_checkpoint_whatever_type_that_is_stored_in(
    roundings, checkpoint, adapter, picture, tmp_path
):
    """A release's float32 is often kept in 16 bits, and sometimes turned into others."""
    base = shutil.copytree(checkpoint(), tmp_path / 'rounded')
    weights = load_file(base / BASE)
    for dtype in roundings:
        weights = {key: weight.to(dtype) for key, weight in weights.items()}
    save_file(weights, base / BASE)
    folder = adapter()
    rounded, exact = (load_molmo(one, LoadOptions(adapter=folder)) for one in (base, checkpoint()))
    difference = logits_of(rounded, picture) - logits_of(exact, picture)
    assert 0 < difference.norm() < 0.1 * logits_of(exact, picture).norm()


def test_a_checkpoint_that_learnt_on_is_another(checkpoint, adapter, tmp_path):
    """Its weights are near those that the adapter was made for, and no rounding of them."""
    base = shutil.copytree(checkpoint(), tmp_path / 'learnt on')
    weights = load_file(base / BASE)
    generator = torch.Generator().manual_seed(2)
    for weight in weights.values():
        weight += 0.01 * weight.std() * torch.randn(weight.shape, generator=generator)
    save_file(weights, base / BASE)
    with pytest.raises(EngineError, match='made for other weights'):
        load_engine(base, adapter=adapter())


@pytest.mark.parametrize('family', FAMILIES)
def test_merged_weights_compute_what_the_adapter_adds(
    family, checkpoint, adapter, picture, tmp_path
):
    base, folder, out = checkpoint(family), adapter(family), tmp_path / 'merged'
    merge_adapter(base, folder, out)
    beside = logits_of(load_molmo(base, LoadOptions(adapter=folder)), picture)
    assert torch.equal(logits_of(load_molmo(out), picture), beside)
    with pytest.raises(EngineError, match='made for other weights'):
        load_engine(out, adapter=folder)
    with pytest.raises(ValueError, match='there already'):
        merge_adapter(base, folder, out)


def test_peft_takes_our_layers_by_the_names_we_write(checkpoint):
    """One expression for each part, and no layer of another part in it."""
    names = {}
    for part, expression in LAYERS.items():
        wrapped = get_peft_model(
            load_molmo(checkpoint()).model, LoraConfig(target_modules=expression)
        )
        names[part] = [name for name, p in wrapped.named_parameters() if p.requires_grad]
    assert all('.text.layers.' in name for name in names['decoder'])
    assert all('.connector.' in name for name in names['connector'])
    assert all('.vision.blocks.' in name for name in names['vision'])
    assert [len(names[part]) // 2 for part in LAYERS] == [3 * 7, 7, 3 * 6]
