# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is taken for granted is in one table, and what it names is there to settle it."""

import ast
import re
import string
from pathlib import Path

import pytest

from molmo_ros.cli import main
from molmo_ros.grounding import assumptions
from molmo_ros.grounding.assumptions import ASSUMPTIONS, Assumption
from molmo_ros.ros.parameters import POINT_QUERY
from molmo_ros.ros.sync import STREAMS

ROOT = Path(__file__).parents[2]
MODULE = ROOT / 'molmo_ros/grounding/assumptions.py'
# What people give files with.
COMMANDS = ('ask', 'check-camera')


@pytest.fixture
def options(capsys):
    """All options of the commands that read files."""
    found = set()
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, '--help'])
        found |= set(re.findall(r'--[a-z][a-z-]*', capsys.readouterr().out))
    return found


def test_what_settles_an_assumption_can_be_set(options):
    known = options | {parameter.name for parameter in POINT_QUERY} | set(STREAMS)
    for assumption in ASSUMPTIONS:
        assert assumption.settled_by, assumption.name
        assert set(assumption.settled_by) <= known, assumption.name


def test_a_sentence_names_what_settles_it():
    for assumption in ASSUMPTIONS:
        if assumption.sentence:
            names = (*assumption.settled_by, '{settled_by}')
            assert any(name in assumption.sentence for name in names)


def _value(field):
    return 7.5 if field == 'offset' else f'the {field}'


def test_a_sentence_is_filled_in():
    for assumption in ASSUMPTIONS:
        fields = [name for _, name, _, _ in string.Formatter().parse(assumption.sentence) if name]
        told = assumption.told(**{name: _value(name) for name in fields})
        assert '{' not in told and all(str(_value(name)) in told for name in fields)


def test_every_assumption_is_in_the_table_and_every_sentence_is_told_somewhere():
    declared = {name: v for name, v in vars(assumptions).items() if isinstance(v, Assumption)}
    assert sorted(declared.values(), key=str) == sorted(ASSUMPTIONS, key=str)
    used = set()
    for path in (ROOT / 'molmo_ros').rglob('*.py'):
        if path != MODULE:
            tree = ast.parse(path.read_text())
            used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    unsaid = {name for name, a in declared.items() if a.sentence and name not in used}
    assert not unsaid


def test_no_sentence_of_an_assumption_is_written_anywhere_else():
    """In what is called `assumed`: arguments, what is appended to, what such functions give."""
    for path in (ROOT / 'molmo_ros').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            for part in _of_assumed(node):
                literals = [n for n in ast.walk(part) if _is_sentence(n)]
                assert not literals, f'{path}:{literals[0].lineno}: declare it in {MODULE.name}'


def _of_assumed(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.keyword) and node.arg == 'assumed':
        return [node.value]
    if isinstance(node, ast.Call) and 'assumed.append' in ast.unparse(node.func):
        return [*node.args]
    if isinstance(node, ast.FunctionDef) and 'assumed' in node.name:
        return [n for n in ast.walk(node) if isinstance(n, ast.Yield | ast.Return)]
    return []


def _is_sentence(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and ' ' in node.value
