# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The arguments that name an engine, and opening it with something to look at meanwhile."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from molmo_ros.commands.console import description_column, plain_console
from molmo_ros.engine import Engine, EngineError, load_engine
from molmo_ros.engine.shipped import RENDERED_ONLY, default_checkpoint
from molmo_ros.errors import UserError
from molmo_ros.model.hub import checkpoint_name


def add_engine_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """--checkpoint, --adapter, --device, --dtype, --max-crops, which the node knows as well."""
    group = parser.add_argument_group('model')
    group.add_argument(
        '--checkpoint',
        metavar='CHECKPOINT',
        help='a folder, a hub id that was fetched, or the address of a server, '
        'http://HOST:PORT/v1#MODEL (default: the demo checkpoint, which knows rendered tables '
        'only)',
    )
    group.add_argument(
        '--adapter', metavar='FOLDER', help='what `molmo-ros finetune` learnt for the checkpoint'
    )
    group.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    group.add_argument(
        '--dtype', default='auto', choices=('auto', 'float32', 'bfloat16', 'float16')
    )
    group.add_argument(
        '--max-crops', type=int, metavar='N', help='fewer crops are faster and coarser'
    )
    return group


def add_local_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `opened_engine`: --quantize, --style and --self-test as well."""
    group = add_engine_arguments(parser)
    group.add_argument(
        '--quantize',
        default='none',
        choices=('none', 'int8', 'int4'),
        help='less memory for the text model, at some loss',
    )
    group.add_argument(
        '--style',
        default='auto',
        choices=('auto', 'molmo', 'molmo2', 'json', 'json_yx'),
        help="how the model of a server writes points (default: by the model's name)",
    )
    group.add_argument(
        '--self-test',
        choices=('on', 'warn', 'off'),
        help='ask about pictures with known places first, and refuse a model that points wrong '
        '(default: on for a server, off for a checkpoint, which `molmo-ros check` tests)',
    )


def checkpoint_of(arguments: argparse.Namespace) -> str:
    """The checkpoint named, or the one that comes with the package. Raises UserError."""
    if arguments.checkpoint:
        return str(arguments.checkpoint)
    try:
        return str(default_checkpoint())
    except FileNotFoundError as error:
        raise UserError(str(error)) from error


def model_name(arguments: argparse.Namespace) -> str:
    """What a report calls the model that the arguments name. Raises UserError."""
    named = arguments.checkpoint
    name = checkpoint_name(named) if named else 'the demo checkpoint'
    adapter = getattr(arguments, 'adapter', None)
    return f'{name} + {Path(adapter).resolve().name}' if adapter else name


def tell_what_answers(arguments: argparse.Namespace) -> None:
    """One line on stderr where no checkpoint was named: what the one that comes along can do."""
    if not arguments.checkpoint:
        print(RENDERED_ONLY, file=sys.stderr)


@contextmanager
def opened_engine(arguments: argparse.Namespace) -> Iterator[Engine]:
    """The engine that the arguments name, closed in the end; EngineError becomes UserError."""
    tell_what_answers(arguments)
    try:
        engine = _load(arguments)
        for told in engine.warnings:
            print(told, file=sys.stderr)
        try:
            yield engine
        finally:
            engine.close()
    except EngineError as error:
        raise UserError(str(error)) from error


def _load(arguments: argparse.Namespace) -> Engine:
    columns = (SpinnerColumn(), description_column(), TimeElapsedColumn())
    console = plain_console(stderr=True)
    # Where nobody watches, what is transient would leave an empty line.
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task('importing torch', total=None)

        def told(what: str, share: float) -> None:
            part = f' {share:.0%}' if math.isfinite(share) and share else ''
            progress.update(task, description=f'{what}{part}')

        return named_engine(arguments, told)


def named_engine(arguments: argparse.Namespace, told: Callable[[str, float], None]) -> Engine:
    """The engine that the arguments name; told: what is done, and its share. Raises EngineError,
    UserError."""
    return load_engine(
        checkpoint_of(arguments),
        device=arguments.device,
        dtype=arguments.dtype,
        max_crops=arguments.max_crops,
        quantize=arguments.quantize,
        adapter=arguments.adapter,
        style=arguments.style,
        self_test=arguments.self_test,
        on_progress=told,
    )
