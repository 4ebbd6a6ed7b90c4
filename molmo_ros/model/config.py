# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint's config.json says, in one spelling.

The September 2024 releases come in two: 7B-O, 7B-D and 72B name things as transformers does, MolmoE
as its training code does. Both say `model_type: "molmo"`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from molmo_ros.errors import shortened

TextFamily = Literal['qwen2', 'olmo2', 'olmoe']


AGAIN = 'download it again (molmo-ros fetch, or by hand: docs/checkpoints.md)'


class UnsupportedCheckpoint(ValueError):
    """The checkpoint is not one that this package can run; the message says why."""


class WrongFile(UnsupportedCheckpoint):
    """A file is not what it should be, or not what others of its folder go with.

    said: what is wrong, with the file's name; the message says what to do, too.
    """

    def __init__(self, said: str) -> None:
        super().__init__(f'{said}: is it of this release, and unchanged? If not, {AGAIN}')


def model_type(folder: Path) -> str:
    """What a folder's config.json says that it is, as 'molmo' or 'molmo2'; '' if nothing."""
    try:
        fields = json.loads((folder / 'config.json').read_text())
    except (OSError, ValueError):
        return ''
    return str(fields.get('model_type', '')) if isinstance(fields, dict) else ''


def is_molmo2(folder: Path) -> bool:
    """Whether a folder's config.json says so."""
    return model_type(folder) == 'molmo2'


@dataclass(frozen=True)
class VisionConfig:
    """The image encoder: CLIP ViT-L/14-336 unless the checkpoint says otherwise.

    `feature_layers` index the outputs of the `num_layers` blocks, as in a Python list.
    """

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_heads: int = 16
    num_layers: int = 23
    image_size: int = 336
    patch_size: int = 14
    norm_eps: float = 1e-5
    feature_layers: tuple[int, ...] = (-2, -9)

    @property
    def grid(self) -> int:
        """Patches along one side of a crop."""
        return self.image_size // self.patch_size

    @property
    def blocks_used(self) -> tuple[int, ...]:
        """Indices of the blocks whose outputs are concatenated, in that order."""
        return tuple(layer % self.num_layers for layer in self.feature_layers)


@dataclass(frozen=True)
class TextConfig:
    """The language model; `intermediate_size` is the width of one SwiGLU branch."""

    family: TextFamily
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    rope_theta: float
    norm_eps: float
    embedding_size: int
    additional_vocab_size: int = 128
    qkv_bias: bool = False
    max_positions: int = 4096
    num_experts: int = 0
    experts_per_token: int = 0

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads


@dataclass(frozen=True)
class LanguageConfig:
    """How a checkpoint wants to be asked, where that is not in the user's own words.

    In a field of its own, `language`, that releases lack. lower_case: it knows no capitals.
    bare_phrases: nor anything but the phrase that names what is sought. words: all that it knows,
    with spaces between, for what is one letter off; other_words: those that are one letter off and
    mean something else. synonyms: words, and those to say instead. presence_temperature: what the
    log odds of there being anything to point at are divided by, so that they come true.
    """

    lower_case: bool = False
    bare_phrases: bool = False
    words: str = ''
    other_words: str = ''
    synonyms: Mapping[str, str] = field(default_factory=dict)
    presence_temperature: float = 1.0


@dataclass(frozen=True)
class MolmoConfig:
    """A Molmo of the first generation.

    `projector_size` is the hidden width of the connector's SwiGLU, `pool` the side of its
    pooling window in patches.
    """

    vision: VisionConfig
    text: TextConfig
    projector_size: int
    pool: int = 2
    language: LanguageConfig = LanguageConfig()

    @staticmethod
    def from_folder(folder: Path) -> MolmoConfig:
        path = folder / 'config.json'
        if not path.is_file():
            raise UnsupportedCheckpoint(
                f'{folder} holds no config.json; is it a checkpoint folder?'
            )
        try:
            return MolmoConfig.from_dict(json.loads(path.read_text()))
        except json.JSONDecodeError as error:
            raise UnsupportedCheckpoint(f'{path} is not JSON: {error}') from error

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> MolmoConfig:
        """Read it, as other tools may have written it too. Raises UnsupportedCheckpoint."""
        fields = _flat(fields)
        if fields.get('model_type') != 'molmo':
            raise UnsupportedCheckpoint(
                f'config.json says model_type {fields.get("model_type")!r}; "molmo", "molmo2" and '
                '"molmo_point" are supported, and code that comes with a checkpoint is never run'
            )
        if quantized := fields.get('quantization_config'):
            named = isinstance(quantized, Mapping)
            method = quantized.get('quant_method') if named else None
            raise UnsupportedCheckpoint(
                f'the weights are already quantised ({method or "an unnamed method"}); use the '
                'original release, with quantize int8 or int4 if it must be small'
            )
        with understood('config.json'):
            config = _from_native(fields) if 'd_model' in fields else _from_hub(fields)
            _check_counts(config)
        return replace(config, language=_language(fields.get('language', {})))


@contextmanager
def understood(what: str | Path) -> Iterator[None]:
    """Whatever goes wrong while a file's fields are read says which file it is.

    Raises UnsupportedCheckpoint.
    """
    try:
        yield
    except UnsupportedCheckpoint:
        raise
    except KeyError as error:
        raise WrongFile(f'{what} lacks {error}') from error
    except Exception as error:
        said = shortened(' '.join(str(error).split()), 200)
        raise WrongFile(f'{what} is not understood ({type(error).__name__}: {said})') from error


def without_nulls(fields: Any) -> Any:
    """What JSON says, at any depth; tools write null for what they leave open."""
    if isinstance(fields, Mapping):
        return {name: without_nulls(value) for name, value in fields.items() if value is not None}
    return fields


def side_of(value: Any, what: str) -> int:
    """The side of a square: written as a number, as a list, or by height and width.

    Raises UnsupportedCheckpoint, with `what` it is.
    """
    sides = list(value.values()) if isinstance(value, Mapping) else value
    sides = sides if isinstance(sides, list | tuple) else [sides]
    if not sides or any(isinstance(side, bool) or not isinstance(side, int) for side in sides):
        raise WrongFile(f'{what} is {shortened(value)}, not a number of pixels')
    if len(set(sides)) > 1 or sides[0] < 1:
        raise WrongFile(f'{what} is {shortened(value)}, and crops are squares')
    return int(sides[0])


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """All that belongs to the decoder at the top, where the releases have it."""
    fields = without_nulls(fields)
    nested = fields.get('text_config')
    flat = {**nested, **fields} if isinstance(nested, Mapping) else dict(fields)
    for name in ('rope_parameters', 'rope_scaling'):
        rope = flat.get(name)
        kind = rope.get('rope_type', rope.get('type')) if isinstance(rope, Mapping) else None
        if kind not in (None, 'default'):
            raise UnsupportedCheckpoint(
                f'config.json says {name} of type {kind!r}; no release of Molmo scales positions'
            )
        if isinstance(rope, Mapping) and 'rope_theta' in rope:
            flat.setdefault('rope_theta', rope['rope_theta'])
    return flat


def _check_counts(config: MolmoConfig) -> None:
    """Raise UnsupportedCheckpoint for what no network can be built of."""
    text, vision = config.text, config.vision
    for name, value in (('rope_theta', text.rope_theta), ('layer_norm_eps', text.norm_eps)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise WrongFile(f'config.json says {name} {shortened(value)}, not a number above 0')
    for what, wide, heads in (
        ('hidden_size', text.hidden_size, text.num_heads),
        ('num_attention_heads', text.num_heads, text.num_kv_heads),
        ('hidden_size of the vision encoder', vision.hidden_size, vision.num_heads),
        ('the size of a crop', vision.image_size, vision.patch_size),
    ):
        if heads < 1 or wide < 1 or wide % heads:
            raise WrongFile(f'config.json says {what} {wide}, which is no multiple of {heads}')
    inside = [-vision.num_layers <= layer < vision.num_layers for layer in vision.feature_layers]
    if not inside or not all(inside):
        raise WrongFile(
            f'config.json reads the vision encoder at {list(vision.feature_layers)}, and it has '
            f'{vision.num_layers} blocks'
        )
    if text.family == 'olmoe' and not 0 < text.experts_per_token <= text.num_experts:
        raise WrongFile(f'config.json says {text.experts_per_token} of {text.num_experts} experts')


def _language(fields: Mapping[str, Any]) -> LanguageConfig:
    try:
        language = LanguageConfig(**fields)
        for one in dataclasses.fields(LanguageConfig):
            value, wanted = getattr(language, one.name), type(getattr(LanguageConfig(), one.name))
            if not isinstance(value, wanted | int if wanted is float else wanted):
                raise TypeError(f'{one.name} is {value!r}')
    except TypeError as error:
        raise UnsupportedCheckpoint(f'config.json: language is not understood: {error}') from error
    if not language.presence_temperature > 0:
        raise UnsupportedCheckpoint(
            'config.json: presence_temperature of language must be above 0, not '
            f'{language.presence_temperature}'
        )
    return language


def _from_hub(fields: Mapping[str, Any]) -> MolmoConfig:
    """The spelling of 7B-O, 7B-D and 72B, whose configs leave the vision encoder unsaid."""
    # The release counts both SwiGLU branches as one projection.
    branch = fields['intermediate_size'] // 2
    heads = fields['num_attention_heads']
    text = TextConfig(
        family='olmo2' if fields.get('norm_after') else 'qwen2',
        hidden_size=fields['hidden_size'],
        intermediate_size=branch,
        num_layers=fields['num_hidden_layers'],
        num_heads=heads,
        num_kv_heads=fields.get('num_key_value_heads') or heads,
        rope_theta=fields['rope_theta'],
        norm_eps=fields['layer_norm_eps'],
        embedding_size=fields['embedding_size'],
        additional_vocab_size=fields.get('additional_vocab_size', 128),
        qkv_bias=fields.get('qkv_bias', False),
        max_positions=fields.get('max_position_embeddings', 4096),
    )
    vision = dict(fields.get('vision_config', {}))
    if 'feature_layers' in vision:
        vision['feature_layers'] = tuple(vision['feature_layers'])
    if 'num_attention_heads' in vision:
        vision['num_heads'] = vision.pop('num_attention_heads')
    if 'image_size' in vision:
        vision['image_size'] = side_of(vision['image_size'], 'image_size of config.json')
    known = {one.name for one in dataclasses.fields(VisionConfig)}
    vision = {name: value for name, value in vision.items() if name in known}
    return MolmoConfig(VisionConfig(**vision), text, projector_size=branch)


def _from_native(fields: Mapping[str, Any]) -> MolmoConfig:
    """The spelling of MolmoE."""
    if fields.get('block_type') != 'moe':
        raise UnsupportedCheckpoint(
            f'block_type {fields.get("block_type")!r} in the training spelling is not a release'
        )
    branch = fields['mlp_ratio'] * fields['d_model'] // 2
    text = TextConfig(
        family='olmoe',
        hidden_size=fields['d_model'],
        intermediate_size=branch,
        num_layers=fields['n_layers'],
        num_heads=fields['n_heads'],
        num_kv_heads=fields.get('n_kv_heads') or fields['n_heads'],
        rope_theta=fields['rope_theta'],
        norm_eps=fields['layer_norm_eps'],
        embedding_size=fields['embedding_size'],
        additional_vocab_size=fields['additional_vocab_size'],
        qkv_bias=fields['qkv_bias'],
        max_positions=fields['max_sequence_length'],
        num_experts=fields['moe_num_experts'],
        experts_per_token=fields['moe_top_k'],
    )
    backbone = fields['vision_backbone']
    vision = VisionConfig(
        hidden_size=backbone['image_emb_dim'],
        intermediate_size=backbone['image_mlp_dim'],
        num_heads=backbone['image_num_heads'],
        num_layers=backbone['image_num_layers'],
        image_size=side_of(
            backbone['image_default_input_size'], 'image_default_input_size of config.json'
        ),
        patch_size=backbone['image_patch_size'],
        norm_eps=backbone['image_norm_eps'],
        feature_layers=tuple(fields['vit_layers']),
    )
    return MolmoConfig(vision, text, projector_size=branch, pool=fields['image_pooling_h'])
