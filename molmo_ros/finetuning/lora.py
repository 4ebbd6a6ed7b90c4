# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""peft around a model, and its adapter as a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from molmo_ros.extras import require
from molmo_ros.model.adapter import BASE_DIGEST, CONFIG, WEIGHTS
from molmo_ros.model.bits_library import import_bitsandbytes
from molmo_ros.output import whole_file, write_whole


def check_peft() -> None:
    """Raise ValueError where peft is not installed."""
    require('peft', 'fine-tuning', ValueError)


def add_lora(
    model: nn.Module, layers: Sequence[str], rank: int, alpha: int, seed: int
) -> nn.Module:
    """Wrap linear layers; `model` computes with what is being learnt from now on.

    layers: expressions of their names.

    The new weights are float32 and alone require gradients; at first they change nothing.
    """
    import_bitsandbytes()  # which peft does, too
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules='|'.join(layers))
    # peft looks for this before it wraps bitsandbytes' layers.
    quantised = any(hasattr(p, 'quant_state') for p in model.parameters())
    setattr(model, 'is_loaded_in_4bit', quantised)  # noqa: B010 (mypy: no module has it)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wrapped: nn.Module = get_peft_model(model, config)
        return wrapped


def recompute_layers(model: nn.Module) -> None:
    """Keep no activations inside of layers; the backward pass computes them again."""
    # What is inside of them stays in evaluation mode: nothing is dropped out.
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = True
            module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
            module.training = True


def adapter_tensors(wrapped: nn.Module) -> dict[str, Tensor]:
    """What was learnt, under peft's keys, on the CPU."""
    from peft import get_peft_model_state_dict

    tensors: Mapping[str, Tensor] = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def put_adapter_tensors(wrapped: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `adapter_tensors`."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(wrapped, dict(tensors))


def save_adapter(wrapped: nn.Module, folder: Path, checkpoint_name: str, digest: str) -> None:
    """Write adapter_config.json and adapter_model.safetensors as peft does, whole or not at all."""
    config = wrapped.peft_config['default']
    config.base_model_name_or_path = checkpoint_name
    config.inference_mode = True
    try:
        with TemporaryDirectory() as scratch:
            config.save_pretrained(scratch)
            write_whole(folder / CONFIG, (Path(scratch) / CONFIG).read_bytes())
    finally:
        config.inference_mode = False
    with whole_file(folder / WEIGHTS, also=(SafetensorError,)) as partial_file:
        save_file(adapter_tensors(wrapped), partial_file, {'format': 'pt', BASE_DIGEST: digest})
