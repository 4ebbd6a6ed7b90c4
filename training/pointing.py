# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage 2: connector and decoder learn to answer in points, the encoder frozen.

Language loss on Molmo's own answers, and two guides that are thrown away with their heads and fade
out: pooled patches must still know what they belong to and where that is, and while a coordinate
is written, one attention head of two layers must look at the object asked for.
"""

from __future__ import annotations

import argparse
import math
import random
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.camera.tabletop import EASY
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.preprocessing import preprocess
from molmo_ros.model.tokenizer import Tokenizer, load_tokenizer
from training.architecture import CONFIG, PREPROCESSOR, new_model
from training.crops import CROPS, make_batch, targets_in_crop
from training.questions import Thing
from training.runs import Run, optimizer_for
from training.scenes import SceneSet, load_scenes
from training.seeing import BINS
from training.sequences import IGNORED, Questions, ask, attention_mask, positions

_LOOKING_LAYERS = (1, 2)
_LOOKING_HEAD = 0


class TokenHeads(nn.Module):
    """Readouts of the pooled patches as the decoder receives them."""

    def __init__(self) -> None:
        super().__init__()
        width = CONFIG.text.hidden_size
        self.norm = nn.LayerNorm(width)
        self.kind = nn.Linear(width, len(EASY.kinds))
        self.colour = nn.Linear(width, len(EASY.colours))
        self.place = nn.Linear(width, 2 * BINS)


class Teacher:
    """The fixed parts of a lesson: scenes, tokenizer, and where the image stands in a sequence."""

    def __init__(self, scenes: SceneSet, tokenizer: Tokenizer, held_out: int) -> None:
        self.scenes, self.tokenizer, self.held_out = scenes, tokenizer, held_out
        blank = torch.zeros(480, 640, 3, dtype=torch.uint8).numpy()
        inputs = preprocess(blank, PREPROCESSOR, tokenizer.image)
        self.image_ids = torch.cat([torch.tensor([tokenizer.eos]), inputs.token_ids])
        self.input_idx = torch.where(inputs.input_idx < 0, inputs.input_idx, inputs.input_idx + 1)
        self.masks = inputs.masks

    @property
    def prefix(self) -> int:
        return len(self.image_ids)

    def things(self, scene: int, mirrored: bool) -> list[Thing]:
        kinds, colours, targets = (
            values[scene] for values in (self.scenes.kind, self.scenes.colour, self.scenes.target)
        )
        return [
            Thing(
                EASY.kinds[kind],
                EASY.colours[colour],
                (float(100 - x if mirrored else x), float(y)),
            )
            for kind, colour, (x, y) in zip(kinds, colours, targets, strict=True)
            if kind >= 0
        ]


def lesson(
    model: Molmo,
    heads: TokenHeads,
    teacher: Teacher,
    index: Tensor,
    per_scene: int,
    rng: random.Random,
    guidance: float,
    train: bool = True,
) -> tuple[Tensor, dict[str, float]]:
    """The loss over `per_scene` questions about each scene, and how well they went."""
    count = len(index)
    mirrored = torch.rand(count) < (0.5 if train else 0.0)
    batch = make_batch(
        teacher.scenes,
        index.repeat_interleave(CROPS),
        torch.arange(CROPS).repeat(count),
        mirrored.repeat_interleave(CROPS),
        jitter=train,
    )
    with torch.no_grad():
        seen = model.vision(batch.patches)
    features = model.connector(seen, teacher.masks.repeat(count, 1))
    things = [teacher.things(i, m) for i, m in zip(index.tolist(), mirrored.tolist(), strict=True)]
    questions = ask(things, per_scene, teacher.tokenizer, rng)
    by_image = features.unflatten(0, (count, CROPS))
    prefix = torch.cat(
        [model.embed(teacher.image_ids, image, teacher.input_idx) for image in by_image]
    )
    embeds = torch.cat([prefix, model.text.get_input_embeddings()(questions.ids)], dim=1)
    out = model.text(
        inputs_embeds=embeds,
        attention_mask={'full_attention': attention_mask(questions, teacher.prefix)},
        position_ids=positions(questions, teacher.prefix),
        output_attentions=True,
        use_cache=False,
    )
    logits = model.lm_head(out.last_hidden_state[:, teacher.prefix :])
    loss, figures = _language_loss(logits, questions)
    # (B, pooled patches of the whole image, objects): how much of each an object covers.
    share = _pool(batch.share[::CROPS])
    if guidance > 0:
        looking, on_target = _looking_loss(out.attentions, questions, share, teacher)
        knowing = _knowing_loss(
            heads,
            by_image[:, 0],
            share,
            targets_in_crop(teacher.scenes, batch)[::CROPS],
            teacher,
            index,
        )
        loss = loss + guidance * (looking + 0.3 * knowing)
        figures['on_target'] = on_target
    return loss, figures


def _language_loss(logits: Tensor, questions: Questions) -> tuple[Tensor, dict[str, float]]:
    asked = questions.label != IGNORED
    each = functional.cross_entropy(logits[asked], questions.label[asked], reduction='none')
    weight = questions.weight[asked]
    right = logits.argmax(-1) == questions.label
    first = (questions.weight == 1.0) & (questions.thing < 0) & asked
    return (each * weight).sum() / weight.sum(), {
        'language': ((each * weight).sum() / weight.sum()).item(),
        'tens': right[questions.tens].float().mean().item(),
        'digits': right[questions.thing >= 0].float().mean().item(),
        'presence': right[first].float().mean().item(),
    }


def _pool(share: Tensor) -> Tensor:
    side = PREPROCESSOR.grid // PREPROCESSOR.pool
    split = share.reshape(len(share), side, 2, side, 2, -1)
    return split.mean(dim=(2, 4)).flatten(1, 2)


def _looking_loss(
    attentions: tuple[Tensor, ...], questions: Questions, share: Tensor, teacher: Teacher
) -> tuple[Tensor, float]:
    rows, columns = torch.nonzero(questions.thing >= 0, as_tuple=True)
    owned = share[rows, :, questions.thing[rows, columns]]
    owned = owned >= 0.5 * owned.max(dim=-1, keepdim=True).values
    places = teacher.input_idx[0]
    masses = []
    for layer in _LOOKING_LAYERS:
        attention = attentions[layer][rows, _LOOKING_HEAD, teacher.prefix + columns]
        masses.append((attention[:, places] * owned).sum(-1))
    loss = -sum(mass.clamp(min=1e-6).log().mean() for mass in masses) / len(masses)
    return loss, masses[-1].mean().item()


def _knowing_loss(
    heads: TokenHeads,
    features: Tensor,
    share: Tensor,
    target: Tensor,
    teacher: Teacher,
    index: Tensor,
) -> Tensor:
    most, owner = share.max(dim=-1)
    covered = most > 0.25
    rows = torch.arange(len(owner))[:, None].expand_as(owner)
    kind = torch.from_numpy(teacher.scenes.kind)[index].long()[rows, owner][covered]
    colour = torch.from_numpy(teacher.scenes.colour)[index].long()[rows, owner][covered]
    x = heads.norm(features[covered])
    centres = torch.arange(BINS) + 0.5
    wanted = target[rows, owner][covered]
    soft = (-0.5 * ((wanted[..., None] - centres) / 1.5).square()).softmax(-1)
    place = heads.place(x).unflatten(-1, (2, BINS)).log_softmax(-1)
    return (
        functional.cross_entropy(heads.kind(x), kind)
        + functional.cross_entropy(heads.colour(x), colour)
        - (soft * place).sum(-1).mean()
    )


def train(
    folder: Path,
    data: Path,
    encoder: Path,
    tokenizer: Path,
    steps: int,
    images: int = 8,
    per_scene: int = 8,
    lr: float = 1.5e-3,
) -> None:
    scenes = load_scenes(data)
    model, heads = new_model(seed=1), TokenHeads()
    seeing = torch.load(encoder / 'state.pt', weights_only=True)['modules']
    model.vision.load_state_dict(
        {k.removeprefix('0.'): v for k, v in seeing.items() if k.startswith('0.')}
    )
    model.vision.requires_grad_(False)
    model.text.config._attn_implementation = 'eager'  # only it tells where it looked
    teacher = Teacher(scenes, load_tokenizer(tokenizer), min(500, len(scenes) // 10))
    both = nn.ModuleList([model, heads])
    optimizer = optimizer_for(both)
    run = Run(folder, steps, lr)
    run.resume(both, optimizer)
    rng = random.Random(run.step)
    while run.step < steps:
        for group in optimizer.param_groups:
            group['lr'] = run.lr()
        index = torch.randint(teacher.held_out, len(scenes), (images,))
        guidance = 0.5 * (1 + math.cos(math.pi * run.step / steps))
        loss, figures = lesson(model, heads, teacher, index, per_scene, rng, guidance)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        run.step += 1
        if run.step % 25 == 0 or run.step == steps:
            with torch.no_grad():
                held = torch.randint(0, teacher.held_out, (images,))
                _, unseen = lesson(
                    model, heads, teacher, held, per_scene, rng, guidance=0.0, train=False
                )
            run.log(loss=loss.item(), **figures, **{f'unseen_{k}': v for k, v in unseen.items()})
        if run.step % 100 == 0 or run.step == steps:
            run.save(both, optimizer)


def main() -> None:
    parser = argparse.ArgumentParser(description='Stage 2: train connector and decoder.')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--encoder', type=Path, required=True, help="stage 1's folder")
    parser.add_argument('--tokenizer', type=Path, required=True)
    parser.add_argument('--steps', type=int, default=2000)
    parser.add_argument('--threads', type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train(arguments.folder, arguments.data, arguments.encoder, arguments.tokenizer, arguments.steps)


if __name__ == '__main__':
    main()
