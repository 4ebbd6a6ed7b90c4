# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros check CHECKPOINT`: does it compute here what it should, does it point right?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

from molmo_ros.commands.console import plain_console
from molmo_ros.engine import EngineError, Finding, is_address, load_engine
from molmo_ros.engine.self_test import Picture, drawn_pictures, findings, pictures_for
from molmo_ros.errors import UserError
from molmo_ros.output import as_json, seconds

_MARKS = {
    True: ('as it should be', 'green'),
    False: ('WRONG', 'bold red'),
    None: ('look', 'yellow'),
}

if TYPE_CHECKING:
    from molmo_ros.model.checking import Report


def main(argv: Sequence[str]) -> int:
    """Run the command; returns 0 if all is as it should be, 1 if not. Raises UserError."""
    arguments = parser().parse_args(argv)
    if is_address(arguments.checkpoint):
        return _check_server(arguments)
    report = _checked(arguments)
    tested = _tested(arguments, _pictures(arguments.checkpoint, report.parameters))
    passed = report.passed and _passed(tested)
    if arguments.json:
        pointing = [asdict(one) for one in tested]
        print(as_json({**asdict(report), 'passed': passed, 'pointing': pointing}))
    else:
        _show(report)
        _show_findings(tested)
    return 0 if passed else 1


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros check',
        description='Load a checkpoint and say whether it computes on this machine what it should, '
        'and whether it points right: at discs drawn for the purpose, or in pictures that it '
        'brings. Of a server, http://HOST:PORT/v1#MODEL, the latter. Exit status: 0 it does, 1 it '
        'does not, 2 it cannot be loaded or reached.',
    )
    parser.add_argument(
        'checkpoint',
        metavar='CHECKPOINT',
        help='a folder, a fetched hub id, or the address of a server',
    )
    parser.add_argument(
        '--style',
        default='auto',
        choices=('auto', 'molmo', 'molmo2', 'json', 'json_yx'),
        help="how the model of a server writes points (default: by the model's name)",
    )
    parser.add_argument(
        '--expected',
        type=Path,
        metavar='FILE',
        help='safetensors with image, input_ids, image_input_idx, image_masks, '
        'image_features_first_crop and logits_last32 of the reference implementation; of a '
        'MolmoPoint with image, input_ids, generated and logits',
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
        from molmo_ros.engine.checking import check_checkpoint
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


def _check_server(arguments: argparse.Namespace) -> int:
    tested = _tested(arguments, drawn_pictures())
    if arguments.json:
        pointing = [asdict(one) for one in tested]
        told = {'passed': _passed(tested), 'checkpoint': arguments.checkpoint, 'pointing': pointing}
        print(as_json(told))
    else:
        _show_findings(tested)
    return 0 if _passed(tested) else 1


def _passed(tested: Sequence[Finding]) -> bool:
    return all(one.passed is not False for one in tested)


def _pictures(checkpoint: str, parameters: int) -> Sequence[Picture]:
    """That say something about a checkpoint of so many parameters. Raises UserError."""
    from molmo_ros.model.hub import checkpoint_folder

    try:
        return pictures_for(checkpoint_folder(checkpoint), parameters, adapted=False)
    except (EngineError, ValueError) as error:
        raise UserError(str(error)) from error


def _tested(arguments: argparse.Namespace, pictures: Sequence[Picture]) -> list[Finding]:
    """The self-test, finding by finding; none without pictures. Raises UserError."""
    if not pictures:
        return []
    try:
        engine = load_engine(
            arguments.checkpoint,
            device=arguments.device,
            dtype=arguments.dtype,
            quantize=arguments.quantize,
            style=arguments.style,
            self_test='off',
        )
        for told in engine.warnings:
            print(told, file=sys.stderr)
        try:
            return findings(engine, pictures)
        finally:
            engine.close()
    except (EngineError, ValueError) as error:
        raise UserError(str(error)) from error


def _show_findings(tested: Sequence[Finding]) -> None:
    console = plain_console()
    if not tested:
        console.print(
            '  not tested whether it points right: it is smaller than any release, and brings no '
            'pictures of its own',
            soft_wrap=True,
        )
    for one in tested:
        mark, style = _MARKS[one.passed]
        console.print(f'  {mark:15}  ', style=style, end='')
        console.print(f'{one.name}: {one.detail}', soft_wrap=True)


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
