# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The trained weights as a checkpoint folder in the releases' layout."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from molmo_ros.model.checkpoint import stored_tensors
from training.architecture import CONFIG, PREPROCESSOR, new_model


def export(state: Path, tokenizer: Path, folder: Path) -> None:
    """Write config, preprocessor config, tokenizer and float32 weights to `folder`."""
    model = new_model()
    modules = torch.load(state / 'state.pt', weights_only=True)['modules']
    model.load_state_dict(
        {k.removeprefix('0.'): v for k, v in modules.items() if k.startswith('0.')}
    )
    write_checkpoint(model, folder)
    for file in tokenizer.iterdir():
        shutil.copy(file, folder / file.name)


def write_checkpoint(model: torch.nn.Module, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.contiguous() for key, tensor in stored_tensors(model, CONFIG).items()}
    save_file(tensors, folder / 'model.safetensors', {'format': 'pt'})
    _write(folder / 'config.json', _config())
    _write(folder / 'preprocessor_config.json', _preprocessor())


def _config() -> dict:
    text, vision = CONFIG.text, CONFIG.vision
    return {
        'model_type': 'molmo',
        'architectures': ['MolmoForCausalLM'],
        'hidden_size': text.hidden_size,
        'intermediate_size': 2 * text.intermediate_size,
        'num_hidden_layers': text.num_layers,
        'num_attention_heads': text.num_heads,
        'num_key_value_heads': text.num_kv_heads,
        'max_position_embeddings': text.max_positions,
        'rope_theta': text.rope_theta,
        'layer_norm_eps': text.norm_eps,
        'layer_norm_type': 'rms',
        'norm_after': False,
        'attention_layer_norm': False,
        'qkv_bias': True,
        'embedding_size': text.embedding_size,
        'vocab_size': text.embedding_size,
        'additional_vocab_size': text.additional_vocab_size,
        'tie_word_embeddings': False,
        'vision_config': {
            'hidden_size': vision.hidden_size,
            'intermediate_size': vision.intermediate_size,
            'num_attention_heads': vision.num_heads,
            'num_layers': vision.num_layers,
            'image_size': vision.image_size,
            'patch_size': vision.patch_size,
            'feature_layers': list(vision.feature_layers),
        },
    }


def _preprocessor() -> dict:
    return {
        'base_image_input_size': [PREPROCESSOR.image_size] * 2,
        'image_patch_size': PREPROCESSOR.patch_size,
        'max_crops': PREPROCESSOR.max_crops,
        'overlap_margins': list(PREPROCESSOR.margins),
        'image_mean': list(PREPROCESSOR.mean),
        'image_std': list(PREPROCESSOR.std),
    }


def _write(path: Path, fields: dict) -> None:
    path.write_text(json.dumps(fields, indent=2) + '\n')


def main() -> None:
    parser = argparse.ArgumentParser(description='Write a checkpoint folder.')
    parser.add_argument('state', type=Path, help="stage 2's folder")
    parser.add_argument('tokenizer', type=Path)
    parser.add_argument('folder', type=Path)
    arguments = parser.parse_args()
    export(arguments.state, arguments.tokenizer, arguments.folder)


if __name__ == '__main__':
    main()
