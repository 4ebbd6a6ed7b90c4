# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plain greedy decoding through transformers' own classes, one token a pass.

The yardstick: whatever is faster must write the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from molmo_ros.model.molmo import Molmo


@torch.inference_mode()
def greedy_tokens(model: Molmo, image: Tensor, question: Sequence[int], eos: int) -> Iterator[int]:
    """Yield what the model writes after an image and a question's ids, `eos` not included.

    image: (1, tokens, hidden), from `Molmo.embed_image`.
    """
    cache = DynamicCache(config=model.text.config)
    prompt = model.embed(torch.tensor(question, device=model.device))
    embeds = torch.cat([image, prompt], dim=1)
    while True:
        hidden = model.decode(embeds, past_key_values=cache, use_cache=True)
        token = int(model.lm_head(hidden[0, -1]).argmax())
        if token == eos:
            return
        yield token
        embeds = model.embed(torch.tensor([token], device=model.device))
