# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A Molmo2 checkpoint folder, ready to run; the network is transformers' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from molmo_ros.model.adapter import Adapter, read_adapter
from molmo_ros.model.config import AGAIN, UnsupportedCheckpoint, WrongFile, side_of, understood
from molmo_ros.model.memory import check_fits, return_freed
from molmo_ros.model.molmo2_preprocessing import Molmo2ImageTokens, Molmo2PreprocessorConfig
from molmo_ros.model.options import (
    DEFAULTS,
    LoadOptions,
    choose_device,
    choose_dtype,
    choose_max_crops,
)
from molmo_ros.model.quantization import check_available, quantize_weight
from molmo_ros.model.tokens import Tokenizer
from molmo_ros.model.weights import (
    file_of_shape,
    refuse_far_more,
    refuse_no_numbers,
    refuse_no_numbers_in,
    refuse_overflow,
    stored_tensors,
    weight_files,
)

if TYPE_CHECKING:
    from transformers import Molmo2ForConditionalGeneration

_IMAGE_TOKENS = ('<im_start>', '<im_end>', '<im_patch>', '<im_col>', '<low_res_im_start>')
_TURN_TOKENS = ('<|im_start|>', '<|im_end|>')


@dataclass(frozen=True)
class Molmo2Tokenizer(Tokenizer):
    """See `Tokenizer`; `bos` opens a conversation, and turns have a beginning and an end."""

    image: Molmo2ImageTokens
    bos: int
    turn_start: int
    turn_end: int

    @property
    def stops(self) -> frozenset[int]:
        return frozenset({self.bos, self.turn_end, self.backend.eos_token_id} - {None})

    def encode_question(self, prompt: str) -> list[int]:
        return [
            self.turn_start,
            *self.encode(f'user\n{prompt}'),
            self.turn_end,
            *self.encode('\n'),
            self.turn_start,
            *self.encode('assistant\n'),
        ]


@dataclass(frozen=True)
class LoadedMolmo2:
    """All that a folder holds; the model is in evaluation mode on its device."""

    model: Molmo2ForConditionalGeneration
    tokenizer: Molmo2Tokenizer
    preprocessor: Molmo2PreprocessorConfig


def load_molmo2(
    folder: Path,
    options: LoadOptions = DEFAULTS,
    on_progress: Callable[[float], None] | None = None,
) -> LoadedMolmo2:
    """Open a Molmo2 folder. Arguments and errors are those of `loading.load_molmo`.

    transformers loads into the host's memory in the asked dtype; from there it is quantised and
    moved layer by layer; of that, on_progress hears the beginning and the end.
    """
    config_class, model_class = _classes(folder)
    quantize = options.quantize
    check_available(quantize)
    target = choose_device(options.device)
    chosen = choose_dtype(options.dtype, target)
    preprocessor = Molmo2PreprocessorConfig.from_folder(folder)
    max_crops = choose_max_crops(options.max_crops, preprocessor.max_crops)
    tokenizer = read_tokenizer(folder)
    weight_files(folder)
    with understood(folder / 'config.json'), torch.device('meta'):
        config = _config(folder, config_class)
        empty = model_class(config)
    refuse_far_more(empty, folder)
    check_fits(empty, target, chosen, quantize)
    check_fits(empty, torch.device('cpu'), chosen, 'none')
    adapter = Adapter({})
    if options.adapter is not None:
        adapter = read_adapter(options.adapter, empty, None, folder)
    if on_progress is not None:
        on_progress(0.0)
    network = f'{folder}, for the network that its config.json describes,'
    with understood(network), _quiet():
        model, found = model_class.from_pretrained(
            folder,
            config=config,
            dtype=chosen,
            attn_implementation='sdpa',
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are in what was found, and refused
            output_loading_info=True,
        )
    _check_keys(folder, found)
    for name, weight in model.named_parameters():
        _refuse_no_numbers(weight, name, folder)
        adapter.add_to(name, weight)
    if quantize != 'none':
        for layer in model.model.language_model.layers:
            layer.to(target)
            for name in [name for name, _ in layer.named_parameters()]:
                quantize_weight(layer, name, quantize)
            return_freed()
    model.to(target).eval().requires_grad_(False)
    if on_progress is not None:
        on_progress(1.0)
    return LoadedMolmo2(model, tokenizer, replace(preprocessor, max_crops=max_crops))


def _refuse_no_numbers(weights: torch.Tensor, name: str, folder: Path) -> None:
    """As `weights.refuse_no_numbers`; transformers does not say from which file a weight came."""
    try:
        refuse_no_numbers(weights, name, folder)
    except UnsupportedCheckpoint:
        refuse_no_numbers_in(folder)
        refuse_overflow(weights, name, folder)
        raise


def _classes(folder: Path) -> tuple[Any, Any]:
    """transformers' classes of configuration and network.

    Imported here alone, because older versions have none, and load Molmo all the same.
    """
    try:
        from transformers import Molmo2Config, Molmo2ForConditionalGeneration
    except ImportError as error:
        raise UnsupportedCheckpoint(
            f'{folder} is a Molmo2, which transformers knows from version 5.20 on; this is '
            f"{transformers.__version__}: pip install 'transformers>=5.20'"
        ) from error
    return Molmo2Config, Molmo2ForConditionalGeneration


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own tables of what is wrong, which is told in a sentence."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _config(folder: Path, config_class: Any) -> Any:
    """Of config.json, whose crops may be of one side or of two."""
    fields, _ = config_class.get_config_dict(folder, local_files_only=True)
    vision = fields.get('vision_config')
    if isinstance(vision, dict) and vision.get('image_size') is not None:
        side = side_of(vision['image_size'], f'image_size of {folder / "config.json"}')
        fields = fields | {'vision_config': vision | {'image_size': [side, side]}}
    return config_class.from_dict(fields)


def _check_keys(folder: Path, found: dict[str, object]) -> None:
    stored = stored_tensors(weight_files(folder))

    def told(key: Any) -> str:
        if isinstance(key, str):
            return f'{key} in {stored[key][0].name}' if key in stored else key
        name, shape, wanted = key
        file = file_of_shape(folder, shape)
        return f'{name} of shape {tuple(shape)} for {tuple(wanted)}' + (
            f' in {file.name}' if file else ''
        )

    problems = [
        f'{kind.removesuffix("_keys")}: {sorted(map(told, found[kind]))[:4]}'  # type: ignore[call-overload]
        for kind in ('missing_keys', 'unexpected_keys', 'mismatched_keys')
        if found.get(kind)
    ]
    if problems:
        raise WrongFile(
            f'{folder} does not hold the weights its config.json describes ({"; ".join(problems)})'
        )


def read_tokenizer(
    folder: Path, image_tokens: tuple[str, ...] = _IMAGE_TOKENS, kind: str = 'Molmo2'
) -> Molmo2Tokenizer:
    """Read tokenizer.json, which has to have the names of the image's tokens. kind: of checkpoint,
    for errors. Raises UnsupportedCheckpoint."""
    if not (folder / 'tokenizer.json').is_file():
        raise UnsupportedCheckpoint(f'{folder} lacks tokenizer.json: {AGAIN}')
    with understood(f'{folder / "tokenizer.json"}, or what belongs to it,'):
        backend = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    vocabulary = backend.get_vocab()
    missing = [name for name in (*image_tokens, *_TURN_TOKENS) if name not in vocabulary]
    # As in transformers' Molmo2Processor.
    bos = backend.bos_token_id if backend.bos_token_id is not None else backend.eos_token_id
    if missing or bos is None:
        raise UnsupportedCheckpoint(
            f"{folder}'s tokenizer lacks {', '.join(missing) or 'an end-of-text token'}; "
            f'is this a {kind} checkpoint?'
        )
    start, end = (vocabulary[name] for name in _TURN_TOKENS)
    image = Molmo2ImageTokens(*(vocabulary[name] for name in _IMAGE_TOKENS))
    return Molmo2Tokenizer(backend, image, bos, start, end)
