# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros ask PICTURE QUESTION`: questions about files, recordings or a camera, without ROS."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from molmo_ros.cameras.files import write_color
from molmo_ros.commands.answers import Answered, error_report, report, show
from molmo_ros.commands.console import plain_console
from molmo_ros.commands.engines import add_local_engine_arguments, opened_engine
from molmo_ros.commands.gripper import add_gripper_arguments, read_gripper
from molmo_ros.commands.outputs import (
    Destination,
    beside,
    check_picture_name,
    check_writable,
    viewer,
)
from molmo_ros.commands.rerun_file import RerunFile
from molmo_ros.commands.sources import (
    Pictures,
    Taken,
    Wanted,
    add_picture_arguments,
    add_source_arguments,
)
from molmo_ros.commands.words import STDIN, read_words
from molmo_ros.engine import Answer, Engine, EngineError, Question
from molmo_ros.engine.requests import check_image
from molmo_ros.errors import UserError
from molmo_ros.grounding.annotate import annotated, heated
from molmo_ros.grounding.cloud import Cloud, cloud_of, ply_bytes, with_points
from molmo_ros.grounding.ground import Grounding, GroundingSettings, ground
from molmo_ros.output import as_json
from molmo_ros.pointing import Mode, prompt_for
from molmo_ros.spatial import LiftSettings

_PROMPT = 'question (Ctrl-D ends): '


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    # Intermixed, so that the words may stand on either side of options.
    options = parser()
    arguments = options.parse_intermixed_args(argv)
    if not arguments.words and not arguments.camera:
        options.error('give a picture and a question: photo.jpg "the red mug"')
    words = read_words(arguments.words, arguments.questions is not None)
    pictures = Pictures(arguments, words.pictures)
    questions = _questions(arguments, words.question)
    if not questions:
        _check_prompt(arguments, words.pictures)
    with ExitStack() as stack:
        several = pictures.several or len(questions) != 1
        asking = _Asking(arguments, several, pictures.files(), stack)
        if questions:
            for wanted in pictures:
                asking.about(wanted, questions)
        else:
            for wanted in pictures:
                asking.load(wanted)
                break
            for question in _prompted(arguments):
                for wanted in pictures:
                    asking.about(wanted, [question])
    return 2 if asking.failed else 0


class _Asking:
    """Asks one engine, which is loaded when there is a first picture, and tells what it says.

    several: whether there may be more than one answer: then what fails is told, and the next is
    asked. kept: files that are not to be written over. stack: closes what is opened. Raises
    UserError where nothing can be written.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        several: bool,
        kept: Sequence[Path],
        stack: ExitStack,
    ) -> None:
        self.failed = False
        self._kept = kept
        self._arguments, self._several, self._stack = arguments, several, stack
        self._engine: Engine | None = None
        self._console = plain_console()
        self._settings = GroundingSettings(
            LiftSettings(preset=arguments.noise), read_gripper(arguments), noise_from='--noise'
        )
        self._viewer = viewer() if arguments.open else None
        self._out = self._destination('--out', arguments.out, '.png')
        if self._out is None and arguments.open:
            folder = Path(tempfile.mkdtemp(prefix='molmo_ros_'))
            self._out = Destination('--out', folder, several, '.png')
        if self._out is not None and not self._out.is_folder:
            check_picture_name(arguments.out)
        self._ply = self._destination('--ply', arguments.ply, '.ply')
        self._rrd: RerunFile | None = None
        if arguments.rrd is not None:
            check_writable('--rrd', arguments.rrd)
            self._rrd = stack.enter_context(RerunFile(arguments.rrd))

    def load(self, wanted: Wanted) -> None:
        """Load the engine, if that picture can be asked about. Raises UserError."""
        self._check(wanted.take())
        self._engine = self._stack.enter_context(opened_engine(self._arguments))

    def about(self, wanted: Wanted, questions: Sequence[Question]) -> None:
        """Ask about a picture. Raises UserError where it was the only one."""
        try:
            taken = wanted.take()
            cloud = self._check(taken)
        except UserError as error:
            self._fail(wanted.name, error)
            return
        if self._engine is None:
            self._engine = self._stack.enter_context(opened_engine(self._arguments))
        for question in questions:
            try:
                answer = self._engine.answer(taken.capture.frame.color, question)
                self._tell(wanted.name, taken, cloud, question, answer)
            except (EngineError, UserError) as error:
                self._fail(wanted.name, error)

    def _destination(self, option: str, given: Path | None, suffix: str) -> Destination | None:
        if given is None:
            return None
        return Destination(option, given, self._several, suffix, self._kept)

    def _check(self, taken: Taken) -> Cloud | None:
        """The cloud, if it is to be written. Raises UserError where something cannot be done."""
        try:
            check_image(taken.capture.frame.color)
        except EngineError as error:
            raise UserError(str(error)) from error
        if self._ply is None:
            return None
        cloud = cloud_of(taken.capture, taken.target)
        if cloud is None:
            reasons = (*taken.capture.missing.values(), taken.target.why_not)
            why = '; '.join(filter(None, reasons))
            raise UserError(f'--ply needs depth and a calibration: {why}')
        return cloud

    def _fail(self, name: str, error: Exception) -> None:
        if not self._several:
            raise UserError(str(error)) from error
        self.failed = True
        about = '' if name in str(error) else f'{name}: '
        print(f'molmo-ros ask: {about}{error}', file=sys.stderr)
        if self._arguments.json:
            print(as_json(error_report(name, error), indent=None), flush=True)

    def _tell(
        self, name: str, taken: Taken, cloud: Cloud | None, question: Question, answer: Answer
    ) -> None:
        found = ground(answer.points, taken.capture, self._settings, taken.target)
        if self._engine is not None and self._engine.assumed:
            found = replace(found, assumed=(*self._engine.assumed, *found.assumed))
        files = self._written(name, taken, cloud, answer, found)
        if self._rrd is not None:
            self._rrd.add(f'{name}: {question.query}', taken, found)
        frame = str(self._arguments.target_frame or taken.capture.frame.frame_id)
        one = Answered(name, taken, question, answer, found, frame, files)
        if self._arguments.json:
            print(as_json(report(one), indent=None if self._several else 2), flush=True)
        else:
            show(one, self._console, titled=self._several)

    def _written(
        self, name: str, taken: Taken, cloud: Cloud | None, answer: Answer, found: Grounding
    ) -> dict[str, Path]:
        """The files of an answer, written and shown. Raises UserError."""
        files: dict[str, Path] = {}
        if self._out is not None:
            files['picture'] = self._out.path(name)
            color = taken.capture.frame.color
            write_color(files['picture'], annotated(color, answer.points))
            if answer.heat is not None:
                files['heat'] = beside(files['picture'], 'heat')
                write_color(files['heat'], annotated(heated(color, answer.heat), answer.points))
        if self._ply is not None and cloud is not None:
            files['cloud'] = self._ply.path(name)
            whole = with_points(cloud, [point.surface.position for point in found.points])
            try:
                files['cloud'].write_bytes(ply_bytes(whole))
            except OSError as error:
                raise UserError(f'{files["cloud"]} cannot be written: {error.strerror}') from error
        if self._viewer is not None:
            self._viewer(files['picture'])
        return files


def _questions(arguments: argparse.Namespace, given: str | None) -> list[Question]:
    """Those of the command line, checked; none where they are to be asked for. Raises UserError."""
    if arguments.questions is None:
        return [_question(arguments, given)] if given is not None else []
    if arguments.questions == STDIN and STDIN in arguments.words:
        raise UserError('stdin cannot bring both a picture and the questions')
    try:
        if arguments.questions == STDIN:
            text = sys.stdin.read()
        else:
            text = Path(arguments.questions).read_text(encoding='utf-8')
    except OSError as error:
        raise UserError(f'{arguments.questions} cannot be read: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{arguments.questions} is no text in UTF-8') from error
    questions = [_question(arguments, line) for line in text.splitlines() if line.strip()]
    if not questions:
        raise UserError(f'{arguments.questions} has no question: write one a line')
    return questions


def _question(arguments: argparse.Namespace, query: str) -> Question:
    question = Question(query, Mode[arguments.mode.upper()])
    try:
        prompt_for(question.query, question.mode)
    except ValueError as error:
        raise UserError(str(error)) from error
    return question


def _check_prompt(arguments: argparse.Namespace, names: Sequence[str]) -> None:
    """Raise UserError where nobody can be asked for questions."""
    if STDIN in names or not sys.stdin.isatty():
        raise UserError(
            'there is no question: give one in quotes after the pictures, as "the red mug", or '
            '--questions FILE; it can only be asked for where stdin is a terminal'
        )
    if arguments.every is not None:
        raise UserError('--every needs the question on the command line')


def _prompted(arguments: argparse.Namespace) -> Iterator[Question]:
    """What is typed, line by line; Ctrl-D or an empty line ends."""
    # The arrow keys, and what was typed before.
    with suppress(ImportError):
        import readline  # noqa: F401
    while True:
        try:
            line = input(_PROMPT)
        except EOFError:
            print()
            return
        if not line.strip():
            return
        try:
            yield _question(arguments, line)
        except UserError as error:
            print(error, file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros ask',
        usage='molmo-ros ask [PICTURE ...] ["QUESTION"] [OPTIONS]',
        description='Ask about pictures. With --depth and --camera the points come in metres, in '
        'the optical frame: x right, y down, z forward. Recordings and cameras bring depth and '
        'calibration themselves. docs/ask.md has examples, and says what --json prints.',
        epilog='exit status: 0 where every question was answered, whatever the answer; 2 where '
        'something could not be read or asked; 130 after Ctrl-C',
    )
    parser.add_argument(
        'words',
        nargs='*',
        metavar='PICTURE ... QUESTION',
        help='PNG, JPEG, ..., turned as its EXIF says, unless depth or a calibration is given; an '
        'address (http, https); - for stdin; a folder of pictures, all of them; a ROS bag (.mcap, '
        '.db3 or its folder), a RealSense recording or a video; realsense or webcam. The question '
        'comes last, in quotes: "the red mug"; without one it is asked for',
    )
    parser.add_argument(
        '--questions',
        metavar='FILE',
        help='ask these of every picture, one a line, in place of QUESTION; - for stdin',
    )
    parser.add_argument(
        '--mode',
        choices=[mode.name.lower() for mode in Mode],
        default='point',
        help='point at it, count it, or ask the query as it stands (default: %(default)s)',
    )
    add_picture_arguments(parser)
    add_source_arguments(parser)
    add_gripper_arguments(parser)
    group = parser.add_argument_group('what is written')
    group.add_argument(
        '--out',
        type=Path,
        metavar='PNG',
        help='the picture with the points; where there may be several answers, a folder for them. '
        'Of a MolmoPoint also one of where it would have pointed, with .heat in its name',
    )
    group.add_argument(
        '--open', action='store_true', help='show that picture in the viewer of the desktop'
    )
    group.add_argument(
        '--ply',
        type=Path,
        metavar='PLY',
        help='the cloud in colour with the points as pink balls; of several, a folder. Needs depth '
        'and a calibration',
    )
    group.add_argument(
        '--rrd',
        type=Path,
        metavar='RRD',
        help='picture, cloud and points of all answers, for the viewer of rerun',
    )
    group.add_argument(
        '--json',
        action='store_true',
        help='print the answer as JSON; of several, each as one line',
    )
    add_local_engine_arguments(parser)
    return parser
