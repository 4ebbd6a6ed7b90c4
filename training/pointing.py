# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage 2: connector and decoder learn to answer in points, soon together with the encoder.

Language loss on Molmo's own answers, in which digits beside the right one are nearly right, and
three guides that fade and are thrown away with their heads. Half way through the decoder, pooled
patches must know what they show, and where in the whole image that is, whatever crop they come
from. Where the prompt has just named an object by which another is found, where a point begins,
and while it is written, one attention head must look at that object in the whole image, and a later
layer's in the other crops; another head where it is a part. And from where a point begins the state
must tell its place. The encoder is frozen at first; then it learns along at a part of the rate,
from the answers and from stage 1's questions. Image tokens are kept short enough for the decoder's
layers to add to them.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.model.molmo import Molmo
from molmo_ros.model.preprocessing import preprocess
from molmo_ros.model.tokenizer import MolmoTokenizer, load_tokenizer
from training import workers
from training.architecture import CONFIG, PREPROCESSOR, new_model
from training.crops import Batch, draw_channels, make_batch, mirror_places, tiling_of
from training.packed_images import NAME, Layout
from training.questions import free_table, make_example, things_of
from training.runs import (
    Optimizer,
    Run,
    autocast,
    checkpoint_weights,
    device,
    load_modules,
    parameter_groups,
)
from training.scenes import MAX_PARTS, SceneSet, load_scenes
from training.seeing import (
    Readouts,
    labels_of,
    patch_losses,
    percent_off,
    place_loss,
    readout_loss,
)
from training.sequences import DIGITS, IGNORED, TOPICS, Questions, digits_near, pack

_LOOKING_LAYERS = {2: slice(0, 1), 5: slice(1, None)}  # by layer: at which crops
_KNOWING_LAYER, _AIMING_LAYER = 4, 6  # the states that enter them
_COVERED = 0.12
_TOGETHER_FROM = 0.05  # of the steps
_ENCODER_RATE, _ENCODER_GUIDE = 0.7, 0.7
_OTHER_CAMERA = 0.07  # of the steps, for each camera but the first
_LASTING = 0.25  # of the guides, at the end
_NORM, _NORM_GUIDE = 200.0, 0.1  # of image tokens as they enter the decoder


class Teacher:
    """The fixed parts of a lesson: scenes of one camera, tokenizer, and where the image stands in a
    sequence."""

    def __init__(self, scenes: SceneSet, tokenizer: MolmoTokenizer) -> None:
        self.scenes, self.tokenizer = scenes, tokenizer
        self.crops = tiling_of(scenes).crops
        inputs = preprocess(np.zeros_like(scenes.fine[0]), PREPROCESSOR, tokenizer.image)
        self.image_ids, self.input_idx = inputs.after(tokenizer.eos)
        self.masks = inputs.masks
        self.digits = torch.tensor([tokenizer.backend.convert_tokens_to_ids(d) for d in DIGITS])

    @property
    def prefix(self) -> int:
        return len(self.image_ids)

    def draw(self, images: int, unseen: bool = False) -> Tensor:
        """Scenes to learn from, or to measure with."""
        held_out = self.scenes.held_out
        first, last = (0, held_out) if unseen else (held_out, len(self.scenes))
        return torch.randint(first, last, (images,))

    def ask(
        self,
        index: Tensor,
        mirrored: Tensor,
        recoloured: Tensor,
        per_scene: int,
        rng: random.Random,
    ) -> Questions:
        """`per_scene` questions about each of these scenes, without colours where they are not
        those that were rendered."""
        examples = []
        for scene, mirror, other in zip(
            index.tolist(), mirrored.tolist(), recoloured.tolist(), strict=True
        ):
            things = things_of(self.scenes, scene, mirror)
            free = free_table(self.scenes, scene, mirror)
            examples.append([make_example(things, rng, free, not other) for _ in range(per_scene)])
        return pack(examples, self.tokenizer, rng)


def lesson(
    model: Molmo,
    heads: Readouts,
    dense: Readouts,
    teacher: Teacher,
    index: Tensor,
    per_scene: int,
    rng: random.Random,
    guidance: float,
    train: bool = True,
    together: bool = False,
    bfloat16: bool = False,
) -> tuple[Tensor, dict[str, float]]:
    """The loss over `per_scene` questions about each scene, and how well they went.

    heads read the connector's output, dense the encoder's, which learns too if `together`.
    bfloat16: the model's matrix products, not the losses'.
    """
    count, crops = len(index), teacher.crops
    mirrored = torch.rand(count) < (0.5 if train else 0.0)
    scenes = teacher.scenes
    channels = draw_channels(scenes, index).repeat_interleave(crops, 0) if train else None
    batch = make_batch(
        scenes,
        index.repeat_interleave(crops),
        torch.arange(crops).repeat(count),
        mirrored.repeat_interleave(crops),
        train,
        channels,
    )
    place = heads.norm.weight.device
    with torch.set_grad_enabled(together), autocast(bfloat16):
        seen = model.vision(batch.patches.to(place))
    with autocast(bfloat16):
        features = model.connector(seen, teacher.masks.repeat(count, 1).to(place)).float()
    questions = teacher.ask(index, mirrored, batch.recoloured[::crops], per_scene, rng)
    norm = _mean_norm(features)
    by_image = features.unflatten(0, (count, crops))
    image_ids, input_idx = teacher.image_ids.to(place), teacher.input_idx.to(place)
    prefix = torch.cat([model.embed(image_ids, image, input_idx) for image in by_image])
    layout = Layout(
        count,
        teacher.prefix,
        questions.image.to(place),
        questions.lengths.to(place),
        watch=tuple(_LOOKING_LAYERS) if guidance > 0 else (),
    )
    words = model.text.get_input_embeddings()(questions.ids.to(place))
    with autocast(bfloat16):
        out = model.text(
            inputs_embeds=torch.cat([prefix.flatten(0, 1), words])[None],
            attention_mask={'full_attention': layout},
            position_ids=layout.positions(),
            use_cache=False,
            output_hidden_states=guidance > 0,
        )
    asked = questions.label != IGNORED
    logits = model.lm_head(out.last_hidden_state[0, -layout.tokens :][asked])
    loss, figures = _language_loss(logits, questions, asked, teacher.digits)
    loss = loss + _NORM_GUIDE * (norm / _NORM).log().square()
    if guidance > 0:
        by_crop = _pool(batch.share).unflatten(0, (count, crops))
        looking, on_target = _looking_loss(layout, questions, by_crop, teacher)
        hidden = out.hidden_states[_KNOWING_LAYER][0, : count * teacher.prefix]
        knowing, off = _knowing_loss(
            heads, hidden.unflatten(0, (count, -1)), batch, by_crop, teacher
        )
        aimed = out.hidden_states[_AIMING_LAYER][0, -layout.tokens :]
        aiming, aimed_off = _aiming_loss(heads, aimed, questions, teacher, index, mirrored)
        loss = loss + guidance * (looking + 0.5 * knowing + 0.5 * aiming)
        figures |= {
            'on_target': on_target,
            'percent_off': off,
            'aimed_off': aimed_off,
            'norm': norm.item(),
        }
    if together:
        loss = loss + _ENCODER_GUIDE * patch_losses(dense, seen.float(), batch, scenes)[0]
    return loss, figures


def _language_loss(
    logits: Tensor, questions: Questions, asked: Tensor, digits: Tensor
) -> tuple[Tensor, dict[str, float]]:
    label = questions.label[asked].to(logits.device)
    weight = questions.weight[asked].to(logits.device)
    each = functional.cross_entropy(logits, label, reduction='none')
    language = (each * weight).sum() / weight.sum()
    wanted = digits_near(questions)[asked].to(logits.device)
    digit = wanted.isfinite().all(-1)
    belief = logits[digit].log_softmax(-1)[:, digits.to(logits.device)]
    each = each.masked_scatter(digit, -(wanted[digit] * belief).sum(-1))
    loss = (each * weight).sum() / weight.sum()
    right = (logits.argmax(-1) == label).cpu()
    tens, choice, topic = questions.tens[asked], questions.choice[asked], questions.topic[asked]
    figures = {
        'language': language.detach(),
        'digits': right[(questions.seen[asked] >= 0) & ~choice].float().mean(),
        'choice': right[choice].float().mean(),
        'tens': right[tens].float().mean(),
    }
    for number, name in enumerate(TOPICS):
        of_topic = tens & (topic == number)
        if name.value not in ('count', 'absent'):
            figures[f'tens_{name.value}'] = right[of_topic].float().mean()
    return loss, {key: float(value) for key, value in figures.items()}


def _pool(share: Tensor) -> Tensor:
    """(B, pooled patches, ...) of the patches' shares (B, P, ...)."""
    side = PREPROCESSOR.grid // PREPROCESSOR.pool
    split = share.unflatten(1, (side, PREPROCESSOR.pool, side, PREPROCESSOR.pool))
    return split.mean(dim=(2, 4)).flatten(1, 2)


def _meant(questions: Questions, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The image, the object and the part of it (0: all) that each of the tokens is about."""
    image = questions.image.repeat_interleave(questions.lengths)[tokens]
    seen = questions.seen[tokens]
    return image, seen // (1 + MAX_PARTS), seen % (1 + MAX_PARTS)


def _looking_loss(
    layout: Layout, questions: Questions, share: Tensor, teacher: Teacher
) -> tuple[Tensor, float]:
    """Where a thing was just named or pointing at it begins, a head must look at it; another head
    where it is a part, so that each can carry one place.

    share: (images, crops, pooled patches, MAX_OBJECTS, 1 + MAX_PARTS).
    """
    (tokens,) = torch.nonzero(questions.seen >= 0, as_tuple=True)
    image, thing, part = _meant(questions, tokens)
    owned = share[image, :, :, thing]
    owned = torch.where(
        (part == 0)[:, None, None],
        owned.sum(-1),
        owned[torch.arange(len(part)), :, :, part],
    )
    masses = []
    for layer, crops in _LOOKING_LAYERS.items():
        places, of_crops = teacher.input_idx[crops], owned[:, crops]
        shown = places >= 0
        places, of_crops = places[shown], of_crops[:, shown]
        most = of_crops.max(dim=-1, keepdim=True).values
        seen = most[:, 0] > 0  # a part may be too small for the coarse picture
        target = (of_crops >= 0.5 * most)[seen]
        looked = layout.looked[layer][tokens[seen], (part[seen] > 0).long()]
        masses.append((looked[:, places] * target.to(looked.device)).sum(-1))
    loss = -sum(mass.clamp(min=1e-6).log().mean() for mass in masses) / len(masses)
    return loss, float(masses[-1].mean().detach())


def _knowing_loss(
    heads: Readouts, hidden: Tensor, batch: Batch, share: Tensor, teacher: Teacher
) -> tuple[Tensor, float]:
    """What each pooled patch shows, and where that is in the whole image, whatever its crop.

    hidden: (images, prefix, width); share as for looking.
    """
    shown = teacher.input_idx >= 0  # of patches that two crops show, one is given to the decoder
    x = hidden[:, teacher.input_idx.clamp(min=0)].flatten(0, 1)
    whole = replace(batch, crop=torch.zeros_like(batch.crop))
    given = (share * shown[..., None, None]).flatten(0, 1)
    labels, covered = labels_of(teacher.scenes, whole, given, _COVERED)
    x = heads.norm(x[covered])
    loss, _ = readout_loss(heads, x, labels)
    return loss, percent_off(heads.place(x), labels.place)


def _aiming_loss(
    heads: Readouts,
    hidden: Tensor,
    questions: Questions,
    teacher: Teacher,
    index: Tensor,
    mirrored: Tensor,
) -> tuple[Tensor, float]:
    """Where a point begins and while it is written, the state must tell where it will be, as a
    patch tells where its object is.

    hidden: (tokens of questions, width); index, mirrored: (images,).
    """
    (tokens,) = torch.nonzero((questions.seen >= 0) & (questions.label != IGNORED), as_tuple=True)
    image, thing, part = _meant(questions, tokens)
    scenes, scene = teacher.scenes, index[image]
    whole = torch.from_numpy(scenes.target)[scene, thing]
    of_part = torch.from_numpy(scenes.parts)[scene, thing, (part - 1).clamp(min=0)]
    wanted = mirror_places(torch.where((part == 0)[:, None], whole, of_part), mirrored[image])
    logits = heads.place(heads.norm(hidden[tokens]))
    return place_loss(logits, wanted), percent_off(logits, wanted)


def _mean_norm(tokens: Tensor) -> Tensor:
    return tokens.norm(dim=-1).mean()


@torch.no_grad()
def _set_norm(model: Molmo, teacher: Teacher) -> float:
    """Scale image tokens to _NORM; returns the factor of each of the two weights that do it.

    The decoder normalises what its layers read, so nothing else keeps image tokens from growing
    until what a layer adds to them is lost in them, and they are never worked on.
    """
    index = teacher.draw(8)
    whole, unmirrored = torch.zeros_like(index), torch.zeros(len(index), dtype=torch.bool)
    batch = make_batch(teacher.scenes, index, whole, unmirrored, jitter=False)
    patches, masks = (x.to(device()) for x in (batch.patches, teacher.masks[whole]))
    norm = _mean_norm(model.connector(model.vision(patches), masks))
    workers.average([norm])  # every worker drew scenes of its own
    factor = (_NORM / norm.item()) ** 0.5
    for weight in _scaling(model):
        weight *= factor
    return factor


def _scaling(model: Molmo) -> list[nn.Parameter]:
    """The weights that image tokens are proportional to."""
    return [model.connector.projector.w2.weight, model.connector.projector.w3.weight]


def train(
    folder: Path,
    data: Sequence[Path],
    tokenizer: Path,
    steps: int,
    encoder: Path | None = None,
    start: Path | None = None,
    images: int = 8,
    per_scene: int = 16,
    lr: float = 1.5e-3,
    bfloat16: bool = False,
    words_alone: bool = False,
) -> None:
    """Train connector and decoder on stage 1's `encoder`.

    data: scenes of one camera each; the first is most often learnt from, and alone measured with.
    start: another run's folder, for its decoder, and for its encoder where none is named; or a
    checkpoint's, which lacks the heads of both stages, so that these begin anew. words_alone: the
    encoder stays as it is and nothing is guided, to teach a finished checkpoint other words.
    """
    words = load_tokenizer(tokenizer)
    teachers = [Teacher(load_scenes(path), words) for path in data]
    often = [1 - _OTHER_CAMERA * (len(data) - 1), *[_OTHER_CAMERA] * (len(data) - 1)]
    model, heads = new_model(seed=1), Readouts(CONFIG.text.hidden_size)
    dense = Readouts(CONFIG.vision.hidden_size * len(CONFIG.vision.feature_layers))
    if start is not None and (start / 'state.pt').exists():
        load_modules(start, model, heads, dense)
    elif start is not None:
        model.load_state_dict(checkpoint_weights(start))
    if encoder is not None:
        load_modules(encoder, model.vision, dense)
    model.text.config._attn_implementation = NAME
    everything = nn.ModuleList([model, heads, dense]).to(device())
    scaled = _set_norm(model, teachers[0])
    images //= workers.count()
    telling = nn.ModuleList([model.connector, model.text, model.lm_head, heads])
    seeing = nn.ModuleList([model.vision, dense])
    connector = model.connector
    hidden = nn.ModuleList(
        [model.vision.blocks, connector.pooling, connector.projector, model.text.layers]
    )
    optimizer = Optimizer(
        [
            *parameter_groups(telling, hidden, but=_scaling(model)),
            *parameter_groups(seeing, hidden, _ENCODER_RATE),
            {'params': _scaling(model), 'hidden': False, 'weight_decay': 0.01, 'share': scaled},
        ]
    )
    run = Run(folder, steps, lr)
    run.resume(everything, optimizer)
    workers.seed(run.step)
    rng = random.Random(torch.initial_seed())
    while run.step < steps:
        run.set_lr(optimizer)
        together = not words_alone and run.step >= _TOGETHER_FROM * steps
        (teacher,) = rng.choices(teachers, often)
        fading = 0.5 * (1 + math.cos(math.pi * run.step / steps))
        guidance = 0.0 if words_alone else _LASTING + (1 - _LASTING) * fading
        loss, figures = lesson(
            model,
            heads,
            dense,
            teacher,
            teacher.draw(images),
            per_scene,
            rng,
            guidance,
            together=together,
            bfloat16=bfloat16,
        )
        optimizer.zero_grad()
        loss.backward()
        workers.average_gradients(everything.parameters())
        nn.utils.clip_grad_norm_(everything.parameters(), 1.0)
        optimizer.step()
        run.step += 1
        if (run.step % 25 == 0 or run.step == steps) and workers.number() == 0:
            shown = images * workers.count()
            unseen = _measure(model, heads, dense, teachers[0], shown, per_scene, rng)
            run.log(loss=loss.item(), **figures, **{f'unseen_{k}': v for k, v in unseen.items()})
        if run.step % 100 == 0 or run.step == steps:
            run.save(everything, optimizer)


@torch.no_grad()
def _measure(
    model: Molmo,
    heads: Readouts,
    dense: Readouts,
    teacher: Teacher,
    images: int,
    per_scene: int,
    rng: random.Random,
) -> dict[str, float]:
    index = teacher.draw(images, unseen=True)
    return lesson(model, heads, dense, teacher, index, per_scene, rng, guidance=0, train=False)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description='Stage 2: train connector and decoder.')
    parser.add_argument('folder', type=Path)
    parser.add_argument(
        '--data', type=Path, nargs='+', required=True, help='scenes of one camera each'
    )
    parser.add_argument('--tokenizer', type=Path, required=True)
    parser.add_argument('--encoder', type=Path, help="stage 1's folder")
    parser.add_argument('--start', type=Path, help='of a run or a checkpoint, to go on from')
    parser.add_argument('--steps', type=int, default=2000)
    parser.add_argument('--lr', type=float, default=1.5e-3, help='at its highest')
    parser.add_argument('--bfloat16', action='store_true', help='faster where the CPU knows it')
    parser.add_argument('--workers', type=int, default=1, help='processes, one for each core')
    parser.add_argument('--images', type=int, default=8, help='pictures in each step')
    parser.add_argument('--per-scene', type=int, default=16, help='questions about each picture')
    parser.add_argument(
        '--words-alone',
        action='store_true',
        help='leave the encoder as it is, and guide nothing: for other words',
    )
    arguments = parser.parse_args()
    if arguments.encoder is None and arguments.start is None:
        parser.error('name an --encoder, or a run to --start from')
    workers.run(
        arguments.workers,
        train,
        arguments.folder,
        arguments.data,
        arguments.tokenizer,
        arguments.steps,
        arguments.encoder,
        arguments.start,
        images=arguments.images,
        per_scene=arguments.per_scene,
        lr=arguments.lr,
        bfloat16=arguments.bfloat16,
        words_alone=arguments.words_alone,
    )


if __name__ == '__main__':
    main()
