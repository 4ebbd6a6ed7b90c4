# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Does a checkpoint compute, on this machine, what it should?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from molmo_ros.model.config import UnsupportedCheckpoint, is_molmo2, model_type
from molmo_ros.model.loading import LoadedMolmo, load_model, read_config, read_preprocessor
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.molmo2 import LoadedMolmo2, load_molmo2
from molmo_ros.model.molmo2_preprocessing import (
    Molmo2ImageTokens,
    Molmo2PreprocessorConfig,
    preprocess_molmo2,
)
from molmo_ros.model.molmo_point import ABSENT
from molmo_ros.model.molmo_point_config import MolmoPointConfig
from molmo_ros.model.molmo_point_loading import (
    LoadedMolmoPoint,
    load_molmo_point,
    load_point_model,
)
from molmo_ros.model.molmo_point_loading import read_preprocessor as read_point_preprocessor
from molmo_ros.model.options import LoadOptions
from molmo_ros.model.point_greedy import greedy_point_tokens
from molmo_ros.model.point_ids import PointIds
from molmo_ros.model.preprocessing import ImageInputs, ImageTokens, PreprocessorConfig, preprocess
from molmo_ros.model.tokenizer import MolmoTokenizer, has_tokenizer, load_tokenizer

_EXPECTED = (
    'image',
    'input_ids',
    'image_input_idx',
    'image_masks',
    'image_features_first_crop',
    'logits_last32',
)


_POINT_TOKENS = 12  # that a MolmoPoint writes where nothing says how many
_TEST_PROMPT = 'Point to the red mug on the left'


@dataclass(frozen=True)
class Tolerance:
    """How far from the expected values is near enough.

    Attributes:
        features: largest difference, as a share of the largest expected magnitude: features are in
            the thousands, where float32 itself differs by hundredths.
        logits: largest difference.
        relative: norm of the difference as a share of the expected values' norm, of both.
        argmax: share of positions where the likeliest token is the expected one.
    """

    features: float = float('inf')
    logits: float = float('inf')
    relative: float = float('inf')
    argmax: float = 1.0


EXACT = Tolerance(features=1e-4, logits=1e-4)
# What rounding does to networks with random weights, with some room: it finds a wrong architecture,
# while subtler faults need float32. See docs/checkpoints.md.
ROUNDED = Tolerance(relative=0.1, argmax=0.9)
COARSE = Tolerance(relative=0.5, argmax=0.5)


def tolerance_for(dtype: str, quantize: str) -> Tolerance:
    """What to expect of a dtype ('float32', ...) and quantisation."""
    if quantize == 'int4':
        return COARSE
    return EXACT if dtype == 'float32' and quantize == 'none' else ROUNDED


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `values` are figures behind it."""

    name: str
    passed: bool
    detail: str
    values: dict[str, float]


@dataclass(frozen=True)
class Report:
    """What `check_checkpoint` found."""

    checkpoint: str
    device: str
    dtype: str
    quantize: str
    parameters: int
    load_seconds: float
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return all(finding.passed for finding in self.findings)


@dataclass(frozen=True)
class Expected:
    """What the reference computes for one image and prompt.

    image: (H, W, 3) uint8 RGB. input_ids: (T,) int64 with a leading BOS. image_input_idx: (crops,
    pooled patches) int64, counted from the BOS. image_masks: (crops, patches). features: (pooled
    patches, hidden) of the first crop. logits: (last positions, vocabulary).
    """

    image: np.ndarray
    input_ids: Tensor
    image_input_idx: Tensor
    image_masks: Tensor
    features: Tensor
    logits: Tensor

    @staticmethod
    def from_file(path: Path) -> Expected:
        """Read a safetensors of these. Raises UnsupportedCheckpoint where it is not one."""
        try:
            stored = load_file(path)
        except (OSError, SafetensorError) as error:
            raise UnsupportedCheckpoint(f'{path} cannot be read: {error}') from error
        if missing := [name for name in _EXPECTED if name not in stored]:
            raise UnsupportedCheckpoint(f'{path} lacks {", ".join(missing)}')
        image, ids, places, masks, features, logits = (stored[name] for name in _EXPECTED)
        return Expected(
            image.reshape(image.shape[-3:]).numpy(),
            ids.flatten().long(),
            places.reshape(-1, places.shape[-1]).long(),
            masks.reshape(-1, masks.shape[-1]),
            features.reshape(-1, features.shape[-1]).float(),
            logits.reshape(-1, logits.shape[-1]).float(),
        )


@dataclass(frozen=True)
class Subject:
    """What was checked, for a further look.

    image: (H, W, 3) uint8. ids: what follows it, one more at least than there are choices. choices:
    the likeliest ids after each of the last of those. least: the share of them that has to agree.
    """

    loaded: LoadedMolmo | LoadedMolmo2 | LoadedMolmoPoint
    image: np.ndarray
    ids: list[int]
    choices: list[int]
    least: float


def check_checkpoint(
    folder: Path,
    expected_file: Path | None = None,
    device: str = 'auto',
    dtype: str = 'auto',
    quantize: str = 'none',
    on_progress: Callable[[float], None] | None = None,
    look_further: Callable[[Subject], list[Finding]] = lambda subject: [],
) -> Report:
    """Load a checkpoint folder, which needs no tokenizer for this, and look at what it computes.

    look_further: what else to look at, where all else is as it should be. Raises
    UnsupportedCheckpoint and ValueError as `load_molmo` does: keys, shapes and dtypes are checked
    by loading.
    """
    options = LoadOptions(device, dtype, quantize=quantize)
    if is_molmo2(folder):
        return _check_molmo2(folder, expected_file, options, look_further)
    if model_type(folder) == 'molmo_point':
        return _check_molmo_point(folder, expected_file, options, on_progress, look_further)
    expected = Expected.from_file(expected_file) if expected_file else None
    config = read_config(folder)
    preprocessor = read_preprocessor(folder, config)
    tokenizer = load_tokenizer(folder) if has_tokenizer(folder) else None
    begin = time.perf_counter()
    model = load_model(folder, config, options, on_progress)
    seconds = time.perf_counter() - begin
    findings = [_keys(model), _dtypes(model), _special_tokens(tokenizer, expected)]
    chosen = str(model.dtype).removeprefix('torch.')
    tolerance = tolerance_for(chosen, quantize)
    if expected is None:
        findings.append(_runs(model, preprocessor, tokenizer))
    else:
        findings += compare(model, preprocessor, expected, tolerance)
    subject = _subject(model, preprocessor, tokenizer, expected, tolerance)
    if all(finding.passed for finding in findings):
        findings += look_further(subject)
    return _report(folder, model, chosen, quantize, seconds, findings)


@torch.inference_mode()
def _subject(
    model: Molmo,
    preprocessor: PreprocessorConfig,
    tokenizer: MolmoTokenizer | None,
    expected: Expected | None,
    tolerance: Tolerance,
) -> Subject:
    """With the reference's choices, or with those of the plain classes."""
    if expected is not None:
        image, bos = expected.image, int(expected.input_ids[0])
        tokens = _tokens_in(expected, preprocessor)
    else:
        image, bos = _test_image(), tokenizer.eos if tokenizer else 0
        tokens = tokenizer.image if tokenizer else ImageTokens(0, 0, 0, 0)
    loaded = LoadedMolmo(model, _Unnamed(tokens, bos), preprocessor)  # type: ignore[arg-type]
    inputs = preprocess(image, preprocessor, tokens, model.device)
    begin = 1 + len(inputs.token_ids)
    if expected is not None:
        ids = expected.input_ids[begin:].tolist()
        choices = expected.logits.argmax(-1).tolist()
    else:
        ids = tokenizer.encode_question(_TEST_PROMPT) if tokenizer else list(range(1, 12))
        embeds = model.embed_image(inputs, bos)
        embeds = torch.cat([embeds, model.embed(torch.tensor(ids, device=model.device))], dim=1)
        choices = model.lm_head(model.decode(embeds)[0, begin:]).argmax(-1).tolist()
    return Subject(loaded, image, ids, choices[1 - len(ids) :], _least(tolerance))


def _least(tolerance: Tolerance) -> float:
    """Of the engine's tokens, which are few, so that rounding may turn a larger share of them."""
    return 1.0 if tolerance.argmax == 1 else tolerance.argmax - 0.1


@dataclass(frozen=True)
class _Unnamed:
    """As much of a tokenizer as an image takes."""

    image: ImageTokens
    eos: int


def _check_molmo2(
    folder: Path,
    expected_file: Path | None,
    options: LoadOptions,
    look_further: Callable[[Subject], list[Finding]],
) -> Report:
    """Load it and run an image through; transformers' own tests hold its network."""
    if expected_file is not None:
        raise UnsupportedCheckpoint('expected files are for the first generation, not for Molmo2')
    begin = time.perf_counter()
    loaded = load_molmo2(folder, options)
    seconds = time.perf_counter() - begin
    model, tokenizer = loaded.model, loaded.tokenizer
    image, question = _test_image(), tokenizer.encode_question(_TEST_PROMPT)
    with torch.inference_mode():
        inputs = preprocess_molmo2(image, loaded.preprocessor, tokenizer.image, model.device)
        ids = torch.tensor([tokenizer.bos, *inputs.token_ids, *question], device=model.device)
        kinds = torch.zeros_like(ids)
        kinds[1 : 1 + len(inputs.token_ids)] = 1
        logits = model(
            input_ids=ids[None],
            mm_token_type_ids=kinds[None],
            pixel_values=inputs.pixel_values.to(model.dtype),
            image_token_pooling=inputs.token_pooling,
            image_grids=inputs.grids,
            logits_to_keep=len(question) - 1,
        ).logits[0]
    names = {**vars(tokenizer.image), 'beginning': tokenizer.bos, 'end_of_turn': tokenizer.turn_end}
    known = {name: token for name, token in names.items() if token is not None}
    findings = [_keys(model), _dtypes(model), _token_ids(known), _finite(logits)]
    chosen = str(model.dtype).removeprefix('torch.')
    least = _least(tolerance_for(chosen, options.quantize))
    if findings[-1].passed:
        choices = logits.argmax(-1).tolist()
        findings += look_further(Subject(loaded, image, question, choices, least))
    return _report(folder, model, chosen, options.quantize, seconds, findings)


@dataclass(frozen=True)
class PointExpected:
    """What the reference computes with a MolmoPoint.

    image: (H, W, 3) uint8 RGB. input_ids: (T,) int64 with a leading BOS. generated: (n,) int64,
    greedy under its rules of order. logits: (n, extended vocabulary), what it chose them from;
    -inf where a rule forbids.
    """

    image: np.ndarray
    input_ids: Tensor
    generated: Tensor
    logits: Tensor

    @staticmethod
    def from_file(path: Path) -> PointExpected:
        """Read a safetensors of these. Raises UnsupportedCheckpoint where it is not one."""
        try:
            stored = load_file(path)
        except (OSError, SafetensorError) as error:
            raise UnsupportedCheckpoint(f'{path} cannot be read: {error}') from error
        names = [field.name for field in fields(PointExpected)]
        if missing := [name for name in names if name not in stored]:
            raise UnsupportedCheckpoint(f'{path} lacks {", ".join(missing)}')
        image, ids, generated, logits = (stored[name] for name in names)
        return PointExpected(
            image.reshape(image.shape[-3:]).numpy(),
            ids.flatten().long(),
            generated.flatten().long(),
            logits.reshape(-1, logits.shape[-1]).float(),
        )


@torch.inference_mode()
def _check_molmo_point(
    folder: Path,
    expected_file: Path | None,
    options: LoadOptions,
    on_progress: Callable[[float], None] | None,
    look_further: Callable[[Subject], list[Finding]],
) -> Report:
    expected = PointExpected.from_file(expected_file) if expected_file else None
    begin = time.perf_counter()
    if expected is None:
        loaded = load_molmo_point(folder, options, on_progress)
    else:
        # No tokenizer is needed for what comes as ids.
        config = MolmoPointConfig.from_folder(folder)
        preprocessor = _columns_as_in(expected, read_point_preprocessor(folder, config), config)
        ids = PointIds(config.vocabulary, preprocessor.pool[0] * preprocessor.pool[1], config.ends)
        unnamed = _UnnamedPoints(config.image, int(expected.input_ids[0]), ids)
        model = load_point_model(folder, config, options, on_progress)
        loaded = LoadedMolmoPoint(model, unnamed, preprocessor)  # type: ignore[arg-type]
    seconds = time.perf_counter() - begin
    model, tokenizer = loaded.model, loaded.tokenizer
    chosen = str(model.dtype).removeprefix('torch.')
    tolerance = tolerance_for(chosen, options.quantize)
    image = expected.image if expected else _test_image()
    inputs = preprocess_molmo2(image, loaded.preprocessor, tokenizer.image, model.device)
    begin_text = 1 + len(inputs.token_ids)
    findings = [_keys(model), _dtypes(model), _token_ids(_known_ids(model.config))]
    if expected is not None:
        same = torch.equal(inputs.token_ids.cpu(), expected.input_ids[1:begin_text])
        detail = 'image tokens as expected' if same else 'differs: image tokens'
        crops = {'crops': float(len(inputs.pixel_values))}
        findings.append(Finding('preprocessing', same, detail, crops))
        question = expected.input_ids[begin_text:].tolist()
    else:
        question = tokenizer.encode_question(_TEST_PROMPT)
    count = len(expected.generated) if expected is not None else _POINT_TOKENS
    plain = greedy_point_tokens(model, inputs, tokenizer.bos, question)
    written = list(islice(plain, count))
    told = [token for token, _ in written]
    if expected is not None:
        findings += _written_as(expected, written, tolerance)
    else:
        findings.append(_finite(written[0][1]))
    if all(finding.passed for finding in findings):
        patches = len(inputs.token_pooling)
        ours = tokenizer.points.ours(told, patches)
        ids_read = question + ours[:-1]
        # The first is left out: after a question alone no patch may come.
        findings += look_further(Subject(loaded, image, ids_read, ours[1:], _least(tolerance)))
    return _report(folder, model, chosen, options.quantize, seconds, findings)


@dataclass(frozen=True)
class _UnnamedPoints:
    """As much of a tokenizer as an image and its points take."""

    image: Molmo2ImageTokens
    bos: int
    points: PointIds


def _columns_as_in(
    expected: PointExpected, preprocessor: Molmo2PreprocessorConfig, config: MolmoPointConfig
) -> Molmo2PreprocessorConfig:
    """With column tokens in the whole image where the expected ids have them."""
    width = -(-preprocessor.grid // preprocessor.pool[1])
    after_row = expected.input_ids[2 + width] if len(expected.input_ids) > 2 + width else None
    return replace(preprocessor, whole_column_tokens=after_row == config.image.column)


def _written_as(
    expected: PointExpected, written: Sequence[tuple[int, Tensor]], tolerance: Tolerance
) -> list[Finding]:
    """Compared up to the first token that differs, after which the texts are others."""
    told = torch.tensor([token for token, _ in written])
    differs = (told != expected.generated).nonzero()
    rows = int(differs[0]) + 1 if len(differs) else len(told)
    ours = torch.stack([logits.float().cpu() for _, logits in written[:rows]])
    theirs = expected.logits[:rows]
    if ours.shape != theirs.shape:
        shapes = f'{tuple(ours.shape)}, expected {tuple(theirs.shape)}'
        return [Finding('logits', False, f'of shape {shapes}', {})]
    known = theirs > ABSENT / 2
    agree = (told == expected.generated).float().mean().item()
    exact = tolerance.argmax == 1
    if not exact:  # the likeliest patch alone has a logit, and rounding may make it another
        known &= ours > ABSENT / 2
    return [
        _near('logits', ours[known], theirs[known], tolerance),
        Finding(
            'tokens',
            agree == 1 or not exact,
            f'{agree:.1%} as expected' + ('' if exact else ' (of rounded weights anything)'),
            {'share_equal': agree},
        ),
    ]


def _known_ids(config: MolmoPointConfig) -> dict[str, int]:
    points = (config.patch_token, config.subpatch_token, config.location_token)
    return {**vars(config.image), **dict(zip(('point', 'part', 'place'), points, strict=True))}


def _report(
    folder: Path,
    model: nn.Module,
    dtype: str,
    quantize: str,
    seconds: float,
    findings: list[Finding],
) -> Report:
    weights = list(model.parameters())
    # Packed 4-bit weights, two to a byte, count as what they stand for.
    count = sum(
        weight.quant_state.shape.numel() if hasattr(weight, 'quant_state') else weight.numel()
        for weight in weights
    )
    count += sum(module.codes.numel() for module in model.modules() if hasattr(module, 'codes'))
    device = str(weights[0].device)
    return Report(str(folder), device, dtype, quantize, count, seconds, tuple(findings))


@torch.inference_mode()
def compare(
    model: Molmo, preprocessor: PreprocessorConfig, expected: Expected, tolerance: Tolerance = EXACT
) -> list[Finding]:
    """Compare what a model makes of the expected file's image and ids with what is in the file."""
    tokens = _tokens_in(expected, preprocessor)
    inputs = preprocess(expected.image, preprocessor, tokens, model.device)
    findings = [_same_preprocessing(inputs, expected)]
    if not findings[0].passed:
        return findings
    features = model.image_features(inputs.crops, inputs.masks)
    _, places = inputs.after(int(expected.input_ids[0]))
    embeds = model.embed(expected.input_ids.to(model.device), features, places)
    last = model.decode(embeds)[0, -len(expected.logits) :]
    logits = model.lm_head(last).float().cpu()
    agree = (logits.argmax(-1) == expected.logits.argmax(-1)).float().mean().item()
    return [
        *findings,
        _near('image features', features[0].float().cpu(), expected.features, tolerance),
        _near('logits', logits, expected.logits, tolerance),
        Finding(
            'likeliest tokens',
            agree >= tolerance.argmax,
            f'{agree:.1%} as expected (at least {tolerance.argmax:.0%})',
            {'share_equal': agree},
        ),
    ]


def _near(name: str, ours: Tensor, theirs: Tensor, tolerance: Tolerance) -> Finding:
    largest = (ours - theirs).abs().max().item()
    magnitude = theirs.abs().max().item()
    relative = ((ours - theirs).norm() / theirs.norm()).item()
    limit = tolerance.logits if name == 'logits' else tolerance.features * magnitude
    limits = [f'at most {limit:.2g}'] if limit < float('inf') else []
    if tolerance.relative < float('inf'):
        limits.append(f'norm at most {tolerance.relative:.0%}')
    return Finding(
        name,
        # NaN is not near anything.
        bool(largest <= limit and relative <= tolerance.relative),
        f'largest difference {largest:.2g} of {magnitude:.4g}, norm {relative:.2g} '
        f'({", ".join(limits)})',
        {
            'largest_difference': largest,
            'largest_expected': magnitude,
            'relative_norm': relative,
        },
    )


def _same_preprocessing(inputs: ImageInputs, expected: Expected) -> Finding:
    ids, places = inputs.after(int(expected.input_ids[0]))
    parts = {
        'image tokens': torch.equal(ids.cpu(), expected.input_ids[: len(ids)]),
        'places': torch.equal(places.cpu(), expected.image_input_idx),
        'masks': inputs.masks.shape == expected.image_masks.shape
        and torch.allclose(inputs.masks.cpu(), expected.image_masks, atol=1e-5, rtol=0),
    }
    wrong = [name for name, same in parts.items() if not same]
    detail = f'differs: {", ".join(wrong)}' if wrong else f'{", ".join(parts)} as expected'
    return Finding('preprocessing', not wrong, detail, {'crops': float(len(inputs.crops))})


def _tokens_in(expected: Expected, preprocessor: PreprocessorConfig) -> ImageTokens:
    """The image tokens' ids, from where they stand after the BOS: start, a row, ..., end."""
    side = preprocessor.grid // preprocessor.pool
    places = (1, 1 + side * (side + 1) + 1, 2, 2 + side)
    if len(expected.input_ids) <= places[1]:
        raise UnsupportedCheckpoint('the expected file has too few input_ids to hold an image')
    return ImageTokens(*(int(expected.input_ids[place]) for place in places))


def _keys(model: nn.Module) -> Finding:
    count = sum(1 for _ in model.parameters())
    return Finding('keys', True, 'none missing, none unexpected', {'tensors': float(count)})


def _dtypes(model: nn.Module) -> Finding:
    bytes_of: dict[str, float] = {}
    for weight in [*model.parameters(), *model.buffers()]:
        name = str(weight.dtype).removeprefix('torch.')
        bytes_of[name] = bytes_of.get(name, 0) + weight.numel() * weight.element_size()
    detail = ', '.join(f'{size / 1e9:.3g} GB {name}' for name, size in bytes_of.items())
    return Finding('dtypes', True, detail, bytes_of)


def _special_tokens(tokenizer: MolmoTokenizer | None, expected: Expected | None) -> Finding:
    if tokenizer is None:
        return Finding('special tokens', True, 'the folder has no tokenizer', {})
    found = _token_ids({**vars(tokenizer.image), 'end_of_text': tokenizer.eos})
    if expected is None:
        return found
    first, start = expected.input_ids[:2].tolist()
    if (first, start) == (tokenizer.eos, tokenizer.image.start):
        return found
    return replace(found, passed=False, detail=f'{found.detail}; expected {first}, {start} first')


def _token_ids(ids: dict[str, int]) -> Finding:
    detail = ', '.join(f'{name} {value}' for name, value in ids.items())
    return Finding('special tokens', True, detail, {k: float(v) for k, v in ids.items()})


@torch.inference_mode()
def _runs(
    model: Molmo, preprocessor: PreprocessorConfig, tokenizer: MolmoTokenizer | None
) -> Finding:
    """Without anything to compare with: an image goes through and numbers come out."""
    tokens = tokenizer.image if tokenizer else ImageTokens(0, 0, 0, 0)
    inputs = preprocess(_test_image(), preprocessor, tokens, model.device)
    embeds = model.embed_image(inputs, tokenizer.eos if tokenizer else 0)
    logits = model.lm_head(model.decode(embeds)[0, -1])
    return _finite(logits)


def _test_image() -> np.ndarray:
    rows, columns = np.mgrid[0:480, 0:640]
    return np.stack([rows, columns, rows + columns], axis=-1).astype(np.uint8)


def _finite(logits: Tensor) -> Finding:
    finite = bool(torch.isfinite(logits).all())
    detail = 'an image went through' if finite else 'what comes out is not finite'
    return Finding('inference', finite, f'{detail}; nothing to compare with (--expected)', {})
