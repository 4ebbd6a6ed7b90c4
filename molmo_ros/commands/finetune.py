# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros finetune FOLDER --out ADAPTER`: teach a checkpoint one's own objects."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from molmo_ros.commands.console import description_column, plain_console
from molmo_ros.commands.engines import checkpoint_of, model_name, tell_what_answers
from molmo_ros.commands.eval_compare import show
from molmo_ros.engine import EngineError
from molmo_ros.errors import UserError
from molmo_ros.finetuning.finetune_settings import TARGETS, FinetuneSettings

if TYPE_CHECKING:
    from molmo_ros.finetuning.training import Outcome, Progress

_DEFAULTS = FinetuneSettings()
_STAGES = {
    'loading': 'loading weights',
    'rehearsing': 'asking what it knows already',
    'measuring': 'asking about what is held out',
}
_EPILOG = """
FOLDER holds images/ and points.jsonl, as `molmo-ros label` and `label import` write it: one line
for each picture and label, points in pixels from the picture's top left corner, all things of that
label, [] where there is none:

  {"image": "a.png", "label": "stapler", "points": [[412.5, 230]]}

Stopped with Ctrl-C, the same command goes on where it was. ADAPTER/training/report.html shows how
it went, and what was learnt of the pictures that were held out. Afterwards:

  molmo-ros ask a.png 'the stapler' --checkpoint CHECKPOINT --adapter ADAPTER
"""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status: 130 where it was stopped. Raises UserError."""
    arguments = parser().parse_args(argv)
    tell_what_answers(arguments)
    called = model_name(arguments)
    arguments.checkpoint = checkpoint_of(arguments)
    outcome = _run(arguments, called)
    out = arguments.out
    if not outcome.finished:
        print(f'stopped after step {outcome.step}; the same command goes on', file=sys.stderr)
        return 130
    _tell(outcome, out)
    print(out)
    return 0


def _tell(outcome: Outcome, out: Path) -> None:
    """How well it learnt: on stderr, because the adapter's name alone is the output."""
    report = out / 'training/report.html'
    if outcome.compared is None:
        print(f'nothing was held out to say how well it learnt; curves: {report}', file=sys.stderr)
        return
    number = f'{outcome.held_out} picture{"s" * (outcome.held_out != 1)}'
    print(f'{number} that it was not taught from:', file=sys.stderr)
    show(outcome.compared, plain_console(stderr=True))
    print(f'curves and answers: {report}', file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros finetune',
        description="Teach a checkpoint one's own objects: from a folder of pictures with points "
        'to an adapter that is loaded beside the checkpoint. Needs peft: pip install '
        "'molmo-ros[finetune]'.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('folder', type=Path, metavar='FOLDER')
    parser.add_argument('--out', type=Path, required=True, metavar='ADAPTER', help='a folder')
    parser.add_argument(
        '--checkpoint',
        metavar='CHECKPOINT',
        help='a folder, or a hub id that was fetched (default: the demo checkpoint)',
    )
    parser.add_argument('--steps', type=int, default=_DEFAULTS.steps)
    parser.add_argument(
        '--images', type=int, default=_DEFAULTS.images, metavar='N', help='pictures a step'
    )
    parser.add_argument(
        '--questions',
        type=int,
        default=_DEFAULTS.questions,
        metavar='N',
        help='about each picture',
    )
    parser.add_argument(
        '--rehearsal',
        type=float,
        default=_DEFAULTS.rehearsal,
        metavar='SHARE',
        help="of the questions that rehearse the checkpoint's own answers",
    )
    parser.add_argument(
        '--keep',
        metavar='FILE',
        type=Path,
        help='questions to rehearse, one a line: the mug (default: some forty household things)',
    )
    parser.add_argument(
        '--targets',
        nargs='+',
        choices=TARGETS,
        default=_DEFAULTS.targets,
        help='parts that are changed',
    )
    parser.add_argument('--rank', type=int, default=_DEFAULTS.rank)
    parser.add_argument(
        '--learning-rate',
        type=float,
        default=_DEFAULTS.learning_rate,
        help='default: 2e-4 for the releases, 1e-3 for narrow decoders',
    )
    parser.add_argument(
        '--hold-out',
        type=float,
        default=_DEFAULTS.hold_out,
        metavar='SHARE',
        help='of the pictures that are not learnt from, and asked about before and after '
        '(default: %(default)g; 0: none, and of fewer than 5 pictures none)',
    )
    parser.add_argument(
        '--no-mirror', action='store_true', help='for things whose mirror image is another thing'
    )
    parser.add_argument(
        '--zoom',
        type=float,
        default=_DEFAULTS.zoom,
        metavar='SHARE',
        help='of a side that may be cut away, so that places are not learnt by heart',
    )
    parser.add_argument('--seed', type=int, default=_DEFAULTS.seed)
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--dtype', default='auto', choices=('auto', 'float32', 'bfloat16'))
    parser.add_argument(
        '--quantize',
        default='none',
        choices=('none', 'int4'),
        help='less memory for the weights that stay as they are',
    )
    return parser


def _run(arguments: argparse.Namespace, called: str) -> Outcome:
    console = plain_console(stderr=True)
    columns = (description_column(), BarColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console) as bars, _stopped_by_ctrl_c(console) as should_stop:
        task = bars.add_task('importing torch', total=None)
        from molmo_ros.finetuning.training import finetune

        try:
            return finetune(
                arguments.folder,
                arguments.checkpoint,
                arguments.out,
                _settings(arguments),
                device=arguments.device,
                dtype=arguments.dtype,
                quantize=arguments.quantize,
                called=called,
                should_stop=should_stop,
                on_progress=lambda progress: _show(bars, task, progress),
            )
        except (ValueError, EngineError) as error:
            raise UserError(str(error)) from error
        except OSError as error:
            raise UserError(f'{error.filename or arguments.out}: {error.strerror}') from error


def _settings(arguments: argparse.Namespace) -> FinetuneSettings:
    keep = _DEFAULTS.keep
    if arguments.keep:
        lines = arguments.keep.read_text(encoding='utf-8').splitlines()
        keep = tuple(line.strip() for line in lines if line.strip())
    return FinetuneSettings(
        steps=arguments.steps,
        images=arguments.images,
        questions=arguments.questions,
        rehearsal=arguments.rehearsal,
        keep=keep,
        targets=tuple(dict.fromkeys(arguments.targets)),
        rank=arguments.rank,
        learning_rate=arguments.learning_rate,
        mirror=not arguments.no_mirror,
        zoom=arguments.zoom,
        hold_out=arguments.hold_out,
        seed=arguments.seed,
    )


def _show(bars: Bars, task: Any, progress: Progress) -> None:
    learning = f'step {progress.step}: loss {progress.loss:.3f}, drift {progress.drift:.3f}'
    what = _STAGES.get(progress.stage, learning)
    bars.update(task, description=what, total=1.0, completed=progress.share)


@contextmanager
def _stopped_by_ctrl_c(console: Console) -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C asks to stop after this step, a second one stops at once."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(number, before)
        console.print('stopping after this step (Ctrl-C again: at once)')

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)
