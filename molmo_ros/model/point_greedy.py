# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MolmoPoint decoded plainly, one token a pass, through transformers' decoder.

The yardstick, written after the reference as it stands: the logits of its extended vocabulary, and
its rules of order applied to them. Whatever is faster must write the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from molmo_ros.model.molmo2_preprocessing import Molmo2ImageInputs
from molmo_ros.model.molmo_point import ABSENT, MolmoPoint
from molmo_ros.model.molmo_point_config import MolmoPointConfig
from molmo_ros.model.point_ids import LOCATIONS


@torch.inference_mode()
def greedy_point_tokens(
    model: MolmoPoint, inputs: Molmo2ImageInputs, bos: int, question: Sequence[int]
) -> Iterator[tuple[int, Tensor]]:
    """Yield what the model writes after an image and a question's ids, without an end.

    Each with the logits, (extended vocabulary,), that it was chosen from, before any rule. Ids are
    the reference's: patches first after the vocabulary.
    """
    image = model.see(inputs, bos)
    patches, subpatches = image.present.shape
    first, ends = model.config.vocabulary, int(model.config.ends)
    starts = np.cumsum([first, patches + ends, subpatches]).tolist()
    embeds = torch.cat([image.embeds, model.embed(torch.tensor(question, device=model.device))])
    count, length = len(image.embeds), len(embeds)
    mask = torch.ones(length, length, dtype=torch.bool, device=model.device).tril()
    mask[1:count, 1:count] = True
    cache = DynamicCache(config=model.text.config)
    states = model.states(
        embeds[None], attention_mask=mask[None, None], past_key_values=cache, use_cache=True
    )[0]
    memory = model.points.remember(states[image.patches], image)
    device = model.device
    none = torch.full((patches + ends + subpatches + LOCATIONS,), ABSENT, device=device)
    logits = torch.cat([_plain(model, states[-1])[0], none])
    written: list[int] = []
    last = -1
    while True:
        token = int(in_order(model.config, written, logits.float().cpu().numpy(), starts).argmax())
        yield token, logits
        written.append(token)
        before, here = last, 0
        if starts[0] <= token < starts[0] + patches:
            here = last = token - starts[0]
            embeds = model.embed_patch(torch.tensor([here], device=device), memory)
        elif starts[1] <= token < starts[2]:
            part = torch.tensor([token - starts[1]], device=device)
            embeds = model.embed_subpatch(torch.tensor([last], device=device), part, memory)
        else:
            embeds = model.embed(torch.tensor([_plain_id(model, token, starts)], device=device))
        states = model.states(embeds[None], past_key_values=cache, use_cache=True)[0]
        found = model.points(
            states,
            memory,
            torch.tensor([before], device=device),
            torch.tensor([here], device=device),
        )
        plain, of_patch = _plain(model, states[-1])
        chosen = torch.full((patches + ends,), ABSENT, device=device, dtype=plain.dtype)
        chosen[found.patches[0].argmax()] = of_patch
        parts = (
            found.subpatches[0] if token < starts[1] and token >= starts[0] else none[:subpatches]
        )
        places = found.locations[0] if starts[1] <= token < starts[2] else none[:LOCATIONS]
        logits = torch.cat([plain, chosen, parts.to(plain.dtype), places.to(plain.dtype)])


def in_order(
    config: MolmoPointConfig,
    written: Sequence[int],
    logits: NDArray[np.float32],
    starts: Sequence[int],
) -> NDArray[np.float32]:
    """The logits with -inf for what the reference's rules forbid after `written`.

    starts: the first ids of patches, subpatches and locations.
    """
    patch, subpatch, location = starts
    allowed = logits.copy()
    ends, rules = config.ends, config.rules
    complete = written[:-2]
    patches = [token for token in complete if patch <= token < subpatch]
    parts = [token for token in complete if subpatch <= token < location]
    token = written[-1] if written else 0
    if ends and subpatch - 1 in written:
        allowed[patch:] = -np.inf
    elif patch <= token < subpatch:
        allowed[:subpatch] = allowed[location:] = -np.inf
        if rules.sorted_subpatches and patches and patches[-1] == token:
            allowed[subpatch : parts[-1] + int(rules.no_repeats)] = -np.inf
    elif subpatch <= token < location:
        allowed[:location] = -np.inf
    else:
        allowed[subpatch:] = -np.inf
        if rules.sorted_patches and patches:
            allowed[patch : patches[-1]] = -np.inf
        last_part = bool(parts) and parts[-1] == location - 1
        if rules.no_repeats and rules.sorted_subpatches and last_part:
            allowed[patches[-1]] = -np.inf
    return allowed


def _plain(model: MolmoPoint, state: Tensor) -> tuple[Tensor, Tensor]:
    """The head's logits without those of the tokens that stand for points; that of a patch."""
    logits: Tensor = model.lm_head(model.text.norm(state))
    config = model.config
    of_patch = logits[config.patch_token].clone()
    logits[[config.patch_token, config.subpatch_token, config.location_token]] = ABSENT
    return logits, of_patch


def _plain_id(model: MolmoPoint, token: int, starts: Sequence[int]) -> int:
    """What stands for a token in the embedding."""
    if token < starts[0]:
        return token
    config = model.config
    return config.patch_token if token < starts[2] else config.location_token
