# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage 1: the image encoder learns to see, patch by patch.

Every patch that an object covers is asked for the object's kind, colour and where to point at it
(percent of the image in the whole-image crop, of the crop in the others). The heads are thrown
away; what stays is an encoder whose patches know what they belong to, and where that is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.camera.tabletop import EASY
from training.architecture import CONFIG, new_model
from training.crops import CROPS, Batch, make_batch, targets_in_crop
from training.runs import Run, optimizer_for
from training.scenes import SceneSet, load_scenes

BINS = 100
_COVERED, _EMPTY = 0.35, 0.02


class PatchHeads(nn.Module):
    """Linear readouts of the encoder's features; bins of a percent for x and y."""

    def __init__(self) -> None:
        super().__init__()
        features = CONFIG.vision.hidden_size * len(CONFIG.vision.feature_layers)
        self.norm = nn.LayerNorm(features)
        self.kind = nn.Linear(features, len(EASY.kinds) + 1)
        self.colour = nn.Linear(features, len(EASY.colours) + 1)
        self.in_image = nn.Linear(features, 2 * BINS)
        self.in_crop = nn.Linear(features, 2 * BINS)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.norm(features)
        return self.kind(x), self.colour(x), self.in_image(x), self.in_crop(x)


def patch_losses(
    heads: PatchHeads, features: Tensor, batch: Batch, scenes: SceneSet
) -> tuple[Tensor, dict[str, float]]:
    """The stage's loss, and what fraction of covered patches is right (and how far off)."""
    share, owner = batch.share.max(dim=-1)
    covered, empty = share > _COVERED, batch.share.sum(-1) < _EMPTY
    rows = torch.arange(len(owner))[:, None].expand_as(owner)
    kind = torch.from_numpy(scenes.kind)[batch.scene].long()[rows, owner]
    colour = torch.from_numpy(scenes.colour)[batch.scene].long()[rows, owner]
    target = targets_in_crop(scenes, batch)[rows, owner]
    kinds, colours, in_image, in_crop = heads(features)
    loss = features.new_zeros(())
    for logits, label, weight in ((kinds, kind, 1.0), (colours, colour, 0.7)):
        on = functional.cross_entropy(logits[covered], label[covered])
        off = logits[empty].log_softmax(-1)[:, -1].mean()
        loss = loss + weight * (on - 0.2 * off)
    places = torch.where((batch.crop == 0)[:, None, None], in_image, in_crop)
    place = places[covered].unflatten(-1, (2, BINS))
    wanted = target[covered]
    inside = ((wanted > 0) & (wanted < BINS)).all(-1)
    place, wanted = place[inside], wanted[inside]
    centres = torch.arange(BINS) + 0.5
    soft = (-0.5 * ((wanted[..., None] - centres) / 1.5).square()).softmax(-1)
    loss = loss - (soft * place.log_softmax(-1)).sum(-1).mean()
    whole = (batch.crop == 0)[rows][covered][inside]
    error = ((place.softmax(-1) * centres).sum(-1) - wanted).abs()[whole].mean()
    return loss, {
        'kind': (kinds[covered].argmax(-1) == kind[covered]).float().mean().item(),
        'colour': (colours[covered].argmax(-1) == colour[covered]).float().mean().item(),
        'percent_off': error.item(),
    }


def train(folder: Path, data: Path, steps: int, batch_size: int = 32, lr: float = 1.5e-3) -> None:
    scenes = load_scenes(data)
    model, heads = new_model().vision, PatchHeads()
    both = nn.ModuleList([model, heads])
    optimizer = optimizer_for(both)
    run = Run(folder, steps, lr)
    run.resume(both, optimizer)
    held_out = min(500, len(scenes) // 10)
    while run.step < steps:
        # Scenes may still be arriving while this runs.
        if run.step % 500 == 499:
            scenes = load_scenes(data)
        for group in optimizer.param_groups:
            group['lr'] = run.lr()
        batch = _random_batch(scenes, held_out, len(scenes), batch_size, train=True)
        loss, figures = patch_losses(heads, model(batch.patches), batch, scenes)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        run.step += 1
        if run.step % 50 == 0 or run.step == steps:
            run.log(loss=loss.item(), **figures, **_held_out(model, heads, scenes, held_out))
        if run.step % 200 == 0 or run.step == steps:
            run.save(both, optimizer)


def _random_batch(scenes: SceneSet, first: int, last: int, count: int, train: bool) -> Batch:
    index = torch.randint(first, last, (count,))
    # Half of the crops are whole images: those say where in the image a thing is.
    crop = torch.randint(0, CROPS, (count,)) * (torch.rand(count) < 0.75)
    mirrored = torch.rand(count) < (0.5 if train else 0.0)
    return make_batch(scenes, index, crop, mirrored, jitter=train)


@torch.no_grad()
def _held_out(
    model: nn.Module, heads: PatchHeads, scenes: SceneSet, count: int
) -> dict[str, float]:
    batch = _random_batch(scenes, 0, count, 32, train=False)
    _, figures = patch_losses(heads, model(batch.patches), batch, scenes)
    return {f'unseen_{key}': value for key, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description='Stage 1: train the image encoder.')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--steps', type=int, default=3000)
    parser.add_argument('--threads', type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train(arguments.folder, arguments.data, arguments.steps)


if __name__ == '__main__':
    main()
