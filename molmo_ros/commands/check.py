# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros check CHECKPOINT`: does it compute here what it should?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

from molmo_ros.commands.console import plain_console
from molmo_ros.errors import UserError
from molmo_ros.output import as_json, seconds

if TYPE_CHECKING:
    from molmo_ros.model.checking import Report


def main(argv: Sequence[str]) -> int:
    """Run the command; returns 0 if all is as it should be, 1 if not. Raises UserError."""
    arguments = parser().parse_args(argv)
    report = _checked(arguments)
    if arguments.json:
        print(as_json({'passed': report.passed, **asdict(report)}))
    else:
        _show(report)
    return 0 if report.passed else 1


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros check',
        description='Load a checkpoint and say whether it computes on this machine what it should. '
        'Exit status: 0 it does, 1 it does not, 2 it cannot be loaded.',
    )
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='a folder, or a fetched hub id')
    parser.add_argument(
        '--expected',
        type=Path,
        metavar='FILE',
        help='safetensors with image, input_ids, image_input_idx, image_masks, '
        'image_features_first_crop and logits_last32 of the reference implementation',
    )
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument(
        '--dtype',
        default='auto',
        choices=('auto', 'fastest', 'float32', 'bfloat16', 'float16'),
        help='float32 finds every fault, the others gross ones (default: float32 on a CPU, '
        'bfloat16 on CUDA)',
    )
    parser.add_argument('--quantize', default='none', choices=('none', 'int8', 'int4'))
    parser.add_argument('--json', action='store_true', help='print the report as JSON')
    return parser


def _checked(arguments: argparse.Namespace) -> Report:
    console = plain_console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task('importing torch', total=None)
        from molmo_ros.model.checking import check_checkpoint
        from molmo_ros.model.hub import checkpoint_folder

        def told(share: float) -> None:
            progress.update(task, description='loading', total=1.0, completed=share)

        try:
            return check_checkpoint(
                checkpoint_folder(arguments.checkpoint),
                arguments.expected,
                arguments.device,
                arguments.dtype,
                arguments.quantize,
                told,
            )
        except (ValueError, OSError) as error:
            raise UserError(str(error)) from error


def _show(report: Report) -> None:
    console = plain_console()
    console.print(
        f'{report.checkpoint}: {report.parameters / 1e9:.3g} billion parameters as {report.dtype}'
        + (f' and {report.quantize}' if report.quantize != 'none' else '')
        + f' on {report.device}, loaded in {seconds(report.load_seconds)}',
        soft_wrap=True,
    )
    for finding in report.findings:
        mark, style = ('as it should be', 'green') if finding.passed else ('WRONG', 'bold red')
        console.print(f'  {mark:15}  ', style=style, end='')
        console.print(f'{finding.name}: {finding.detail}', soft_wrap=True)
