# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage 1: the image encoder learns to see, patch by patch.

Every patch that an object covers is asked for the object's kind, colour, pattern and size, for the
named part it shows, where to point at the object and at that part (percent of the image in the
whole-image crop, of the crop in the others), and which of its own cells show them. The heads are
thrown away; what stays is an encoder whose patches know what they belong to, and where that is.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.model.vision import VisionTower
from molmo_ros.tabletop.world.shapes import KINDS
from training import workers
from training.architecture import CONFIG, new_model
from training.crops import (
    CELLS,
    NEVER,
    Batch,
    draw_channels,
    in_crop,
    looks_like,
    make_batch,
    tiling_of,
)
from training.runs import Optimizer, Run, autocast, device, load_modules, parameter_groups
from training.scenes import (
    COLOUR_NAMES,
    KIND_NAMES,
    MAX_PARTS,
    PATTERN_NAMES,
    SceneSet,
    load_scenes,
)

IGNORED = -100
BINS = 100
_SPREAD = 0.8  # of the bins that a place fills
_OFF = 0.25  # of a percent that their mean is off; bins alone hardly tell a place from the next
_CELLS = 2.0
SIZE_BINS = 8
_SMALLEST, _LARGEST = 0.07, 0.32  # metres
_COVERED, _EMPTY, _PART_SHOWN = 0.3, 0.02, 0.08
_KEPT = 72  # patches of a crop: nine in ten show the table, and half of those teach as much
_FULL_FROM = 0.9  # of the steps; after that whole crops, as at inference

PART_NAMES = tuple(sorted({part.name for k in KIND_NAMES for part in KINDS[k].parts if part.name}))


def _parts_of(kind: str) -> list[int]:
    """By the number of a part (0: the body) its place in PART_NAMES, -1 where it has no name."""
    named = [PART_NAMES.index(part.name) if part.name else -1 for part in KINDS[kind].parts]
    return [-1, *named, *[-1] * (MAX_PARTS - len(named))]


_IMPOSSIBLE = -1e4  # of a logit
_PART_OF_KIND = torch.tensor([_parts_of(kind) for kind in KIND_NAMES])


class Readouts(nn.Module):
    """Linear readouts of patch features; bins of a percent for x and y."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.kind = nn.Linear(width, len(KIND_NAMES) + 1)
        self.colour = nn.Linear(width, len(COLOUR_NAMES) + 1)
        self.pattern = nn.Linear(width, len(PATTERN_NAMES))
        self.size = nn.Linear(width, SIZE_BINS)
        self.part = nn.Linear(width, len(PART_NAMES) + 1)
        self.place = nn.Linear(width, 2 * BINS)
        self.part_place = nn.Linear(width, 2 * BINS)
        self.cells = nn.Linear(width, 2 * CELLS**2)


@dataclass(frozen=True)
class Labels:
    """What N patches show: indices (N,), and places (N, 2) in percent that may be NaN.

    colour: IGNORED in a recoloured picture. looks (N, colours): which it may be taken for.
    part: the named part that a patch shows most of, however much else of the object it shows.
    owner, number: the object in its scene, and that part by its number (0: none has a name).
    """

    kind: Tensor
    colour: Tensor
    looks: Tensor
    pattern: Tensor
    size: Tensor
    part: Tensor
    place: Tensor
    part_place: Tensor
    owner: Tensor
    number: Tensor

    def to(self, device: torch.device) -> Labels:
        return Labels(*(getattr(self, field.name).to(device) for field in fields(self)))


def labels_of(scenes: SceneSet, batch: Batch, share: Tensor, least: float) -> tuple[Labels, Tensor]:
    """The labels of the patches (B, P) of which an object covers `least`, and which those are.

    share: (B, P, MAX_OBJECTS, 1 + MAX_PARTS), the batch's own or pooled.
    """
    most, owner = share.sum(-1).max(-1)
    of_owner = share.gather(2, owner[..., None, None].expand(*owner.shape, 1, share.shape[-1]))
    covered = most > least
    rows = torch.arange(len(owner))[:, None].expand_as(owner)[covered]
    owner, of_parts = owner[covered], of_owner[covered][:, 0]

    def of(values: Tensor) -> Tensor:
        return values[batch.scene][rows, owner]

    kind, colour = (of(torch.from_numpy(x)).long() for x in (scenes.kind, scenes.colour))
    shown, number = (of_parts * (_PART_OF_KIND[kind] >= 0)).max(-1)
    shows_part = shown > _PART_SHOWN
    parts = in_crop(torch.from_numpy(scenes.parts)[batch.scene], batch)[rows, owner]
    size = of(torch.from_numpy(scenes.size))
    ratio = torch.log(size / _SMALLEST) / torch.log(torch.tensor(_LARGEST / _SMALLEST))
    labels = Labels(
        kind,
        torch.where(batch.recoloured[rows], IGNORED, colour),
        looks_like(colour, batch.channels[rows]),
        of(torch.from_numpy(scenes.pattern)).long(),
        (ratio * SIZE_BINS).long().clamp(0, SIZE_BINS - 1),
        torch.where(shows_part, _PART_OF_KIND[kind, number] + 1, 0),
        in_crop(torch.from_numpy(scenes.target)[batch.scene], batch)[rows, owner],
        torch.where(
            shows_part[:, None],
            parts[torch.arange(len(owner)), (number - 1).clamp(min=0)],
            torch.nan,
        ),
        owner,
        torch.where(shows_part, number, 0),
    )
    return labels, covered


def readout_loss(heads: Readouts, x: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of normed features (N, width) against their labels, and (N,) what was right."""
    labels = labels.to(x.device)
    kind, colour, part = heads.kind(x), heads.colour(x), heads.part(x)
    # That a kind is never shown in a colour does not make it another kind, or the colour another.
    never, told = NEVER.to(x.device), labels.colour != IGNORED
    other_kinds = ((labels.looks.float() @ never.T.float()) > 0).scatter(
        1, labels.kind[:, None], False
    )
    loss = (
        functional.cross_entropy(_without(kind, other_kinds), labels.kind)
        + 0.7
        * functional.cross_entropy(
            _without(colour, never[labels.kind]), labels.colour, reduction='sum'
        )
        / told.sum().clamp(min=1)
        + 0.4 * functional.cross_entropy(heads.pattern(x), labels.pattern)
        + 0.2 * functional.cross_entropy(heads.size(x), labels.size)
        + 0.5 * functional.cross_entropy(part, labels.part)
        + place_loss(heads.place(x), labels.place)
        + place_loss(heads.part_place(x), labels.part_place)
    )
    return loss, {
        'kind': kind.argmax(-1) == labels.kind,
        'colour': (colour.argmax(-1) == labels.colour)[told],
        'part': (part.argmax(-1) == labels.part)[labels.part > 0],
    }


def _without(logits: Tensor, classes: Tensor) -> Tensor:
    """Logits (N, C + 1) without the classes (N, C); the one more is for nothing."""
    return logits.masked_fill(functional.pad(classes, (0, 1)), _IMPOSSIBLE)


def place_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Of bins of a percent for x and y against places (N, 2); NaN and outside are left out."""
    inside = ((wanted > 0) & (wanted < BINS)).all(-1)
    if not inside.any():
        return logits.sum() * 0
    place, wanted = logits[inside].unflatten(-1, (2, BINS)), wanted[inside].to(logits.device)
    soft = (-0.5 * ((wanted[..., None] - _centres(wanted.device)) / _SPREAD).square()).softmax(-1)
    belief = place.log_softmax(-1)
    off = (belief.exp() * _centres(wanted.device)).sum(-1) - wanted
    return _OFF * off.abs().mean() - (soft * belief).sum(-1).mean()


def _cells_loss(heads: Readouts, x: Tensor, labels: Labels, cells: Tensor) -> Tensor:
    """Of which cells of N patches (N, CELLS**2) show their object, and which the part."""
    shows = heads.cells(x).unflatten(-1, (2, -1))
    labels, cells = labels.to(x.device), cells.to(x.device)
    of_owner = cells.div(1 + MAX_PARTS, rounding_mode='floor') == labels.owner[:, None]
    of_part = of_owner & (cells % (1 + MAX_PARTS) == labels.number[:, None])
    part = labels.part > 0
    wrong = functional.binary_cross_entropy_with_logits
    thing = wrong(shows[:, 0], of_owner.float())
    return thing + wrong(shows[part, 1], of_part[part].float()) if part.any() else thing


def percent_off(logits: Tensor, wanted: Tensor) -> float:
    """How far the means of such bins are from places (N, 2), on average over x and y."""
    place = logits.detach().unflatten(-1, (2, BINS)).softmax(-1)
    centre = (place * _centres(place.device)).sum(-1)
    return (centre - wanted.to(centre.device)).abs().mean().item()


def _centres(device: torch.device) -> Tensor:
    return torch.arange(BINS, device=device) + 0.5


def patch_losses(
    heads: Readouts, features: Tensor, batch: Batch, scenes: SceneSet
) -> tuple[Tensor, dict[str, float]]:
    """The stage's loss, and what fraction of covered patches is right (and how far off)."""
    labels, covered = labels_of(scenes, batch, batch.share, _COVERED)
    empty = batch.share.sum((-1, -2)) < _EMPTY
    x = heads.norm(features)
    loss, right = readout_loss(heads, x[covered], labels)
    loss = loss + _CELLS * _cells_loss(heads, x[covered], labels, batch.cells[covered])
    for head in (heads.kind, heads.colour):
        loss = loss - 0.2 * head(x[empty]).log_softmax(-1)[:, -1].mean()
    figures = {key: value.float().mean().item() for key, value in right.items()}
    whole = (batch.crop == 0)[:, None].expand_as(covered)[covered]
    error = percent_off(heads.place(x[covered][whole]), labels.place[whole])
    return loss, {**figures, 'percent_off': error}


def train(
    folder: Path,
    data: Path,
    steps: int,
    start: Path | None = None,
    batch_size: int = 48,
    lr: float = 1.5e-3,
    bfloat16: bool = False,
) -> None:
    """Train an encoder, from another run's folder, with its heads, if `start` names one.

    bfloat16: the encoder's matrix products, not the losses'.
    """
    scenes = load_scenes(data)
    model = new_model().vision
    heads = Readouts(CONFIG.vision.hidden_size * len(CONFIG.vision.feature_layers))
    if start is not None:
        load_modules(start, model, heads)
    both = nn.ModuleList([model, heads]).to(device())
    optimizer = Optimizer(parameter_groups(both, model.blocks))
    run = Run(folder, steps, lr)
    run.resume(both, optimizer)
    batch_size //= workers.count()
    workers.seed(run.step)
    held_out = scenes.held_out
    while run.step < steps:
        run.set_lr(optimizer)
        batch = _random_batch(scenes, held_out, len(scenes), batch_size, train=True)
        kept = _worth_seeing(batch) if run.step < _FULL_FROM * steps else None
        if kept is not None:
            batch = batch.only(kept)
        with autocast(bfloat16):
            patches = batch.patches.to(device())
            features = model(patches) if kept is None else some_features(model, patches, kept)
        loss, figures = patch_losses(heads, features.float(), batch, scenes)
        optimizer.zero_grad()
        loss.backward()
        workers.average_gradients(both.parameters())
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        run.step += 1
        if (run.step % 50 == 0 or run.step == steps) and workers.number() == 0:
            run.log(loss=loss.item(), **figures, **_held_out(model, heads, scenes, held_out))
        if run.step % 200 == 0 or run.step == steps:
            run.save(both, optimizer)


def _worth_seeing(batch: Batch) -> Tensor:
    """(B, _KEPT) indices of patches: those that show something first, then any."""
    worth = torch.rand(batch.share.shape[:2]) + (batch.share.sum((-1, -2)) > 0)
    return worth.topk(_KEPT, dim=1).indices


def some_features(model: VisionTower, patches: Tensor, kept: Tensor) -> Tensor:
    """What the encoder makes of crops of which only some patches (B, K, pixels) are left.

    kept: (B, K), their indices.
    """
    hidden = model.patch_embedding(patches) + model.positional_embedding[1:][kept]
    first = (model.class_embedding + model.positional_embedding[0]).expand(len(patches), 1, -1)
    hidden = model.pre_ln(torch.cat([first, hidden], dim=1))
    outputs = []
    for block in model.blocks:
        hidden = block(hidden, attention_mask=None)
        outputs.append(hidden)
    return torch.cat([outputs[index][:, 1:] for index in model.blocks_used], dim=-1)


def _random_batch(scenes: SceneSet, first: int, last: int, count: int, train: bool) -> Batch:
    index = torch.randint(first, last, (count,))
    # Half of the crops are whole images: those say where in the image a thing is.
    crop = torch.randint(0, tiling_of(scenes).crops, (count,)) * (torch.rand(count) < 0.75)
    mirrored = torch.rand(count) < (0.5 if train else 0.0)
    channels = draw_channels(scenes, index) if train else None
    return make_batch(scenes, index, crop, mirrored, train, channels)


@torch.no_grad()
def _held_out(model: nn.Module, heads: Readouts, scenes: SceneSet, count: int) -> dict[str, float]:
    batch = _random_batch(scenes, 0, count, 64, train=False)
    _, figures = patch_losses(heads, model(batch.patches.to(device())), batch, scenes)
    return {f'unseen_{key}': value for key, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description='Stage 1: train the image encoder.')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--start', type=Path, help="another run's folder, to go on from")
    parser.add_argument('--steps', type=int, default=3000)
    parser.add_argument('--lr', type=float, default=1.5e-3, help='at its highest')
    parser.add_argument('--bfloat16', action='store_true', help='faster where the CPU knows it')
    parser.add_argument('--workers', type=int, default=1, help='processes, one for each core')
    arguments = parser.parse_args()
    workers.run(
        arguments.workers,
        train,
        arguments.folder,
        arguments.data,
        arguments.steps,
        arguments.start,
        lr=arguments.lr,
        bfloat16=arguments.bfloat16,
    )


if __name__ == '__main__':
    main()
