# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What README.md and docs/ tell people to type, and where they send them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from molmo_ros.srv import PointQuery

from molmo_ros.cli import COMMANDS, main
from molmo_ros.ros.domain import free_domain
from molmo_ros.tabletop.demo.processes import NodeProcesses

ROOT = Path(__file__).parents[2]
README = (ROOT / 'README.md').read_text()
CARD = (ROOT / 'models/tabletop/README.md').read_text()
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]


def blocks(language):
    return re.findall(rf'^```{language}\n(.*?)^```', README, re.M | re.S)


def commands(program):
    """Those lines of README's shell blocks that begin with a program, without comments."""
    lines = '\n'.join(blocks('sh')).replace('\\\n', ' ').splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line and Path(line[0]).name == program]


def named(command):
    return ' '.join(command[1:3])


def test_readme_has_commands_of_each_kind():
    assert commands('make') and commands('molmo-ros') and commands('ros2') and blocks('python')


@pytest.mark.parametrize('command', commands('make'), ids=named)
def test_make_knows_what_it_is_asked_for(command):
    makefile = (ROOT / 'Makefile').read_text()
    assert re.search(rf'^{command[1]}: ', makefile, re.M)


def test_the_demo_of_make_is_the_one_tested_here():
    recipe = re.search(r'^demo: .*\n\t(.*)', (ROOT / 'Makefile').read_text(), re.M).group(1)
    assert recipe == '$(BIN)/molmo-ros demo'


def downloads(command):
    return command[1] in ('fetch', 'check') or '--checkpoint' in command


@pytest.mark.parametrize('command', commands('molmo-ros'), ids=named)
def test_commands_exist(command):
    assert command[1] in COMMANDS or ' '.join(command[1:3]) in COMMANDS


@pytest.mark.parametrize(
    'command', [c for c in commands('molmo-ros') if not downloads(c)], ids=named
)
def test_commands_run_as_they_are_written(command, demonstration, monkeypatch):
    folder, _ = demonstration
    monkeypatch.chdir(folder)
    short = ['--limit', '2'] if command[1] == 'eval' else []
    assert main([*command[1:], *short]) == 0


@pytest.mark.parametrize('code', blocks('python'))
def test_robot_code_gets_an_answer(code, tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.setenv('ROS_DOMAIN_ID', str(free_domain()))
    with NodeProcesses(tmp_path) as nodes:
        nodes.start('camera', 'molmo_ros.tabletop.camera_node')
        nodes.start('node', 'molmo_ros.ros.point_query_node')
        result = subprocess.run(
            [sys.executable, '-c', code], env=os.environ, capture_output=True, text=True
        )
        nodes.check()
    assert result.returncode == 0, result.stderr
    assert 'SUCCESS' in result.stdout and 'm in table' in result.stdout


def launches(package):
    return [c for c in commands('ros2') if c[1:3] == ['launch', package]]


@pytest.mark.parametrize('command', launches('molmo_ros'), ids=named)
def test_launch_arguments_are_declared(command):
    launch = (ROOT / 'launch' / command[3]).read_text()
    for argument in command[4:]:
        assert f"argument('{argument.split(':=')[0]}'" in launch.replace('(\n        ', '(')


@pytest.mark.parametrize('command', [c for c in commands('ros2') if c[1] == 'service'], ids=named)
def test_requests_have_the_fields_of_the_interface(command):
    assert command[3:5] == ['/point_query', 'molmo_ros/srv/PointQuery']
    PointQuery.Request(**yaml.safe_load(command[5]))


@pytest.mark.parametrize(
    'command', [c for c in commands('ros2') if c[1:3] == ['run', 'molmo_ros']], ids=named
)
def test_programs_of_ros2_run_are_installed(command):
    assert f'install_entry_point({command[3]} ' in (ROOT / 'CMakeLists.txt').read_text()


def plain(text):
    return ' '.join(text.split())


# What README says of the demo checkpoint, and the row of its card's first table that says so.
FIGURES = {
    r'it finds one thing in (\d+) % of cases': 'one thing',
    r'says that a thing is not there in (\d+) %': 'what is not there',
    r'counts right in (\d+) % \(up to six\)': 'how many, up to 6',
    r'behind or nearest to another in (\d+) %': 'a relation',
    r'and a part in (\d+) %': 'a part',
}


@pytest.mark.parametrize('sentence', FIGURES)
def test_figures_of_the_demo_checkpoint_are_those_of_its_card(sentence):
    (said,) = re.findall(sentence, plain(README))
    row = re.search(rf'^\| {FIGURES[sentence]}[^|]*\| (\d+) \| (\d+) \|', CARD, re.M)
    right, asked = map(int, row.groups())
    assert int(said) == round(100 * right / asked)


def test_figures_of_plain_tables_and_of_all_questions_are_those_of_the_card():
    (said,) = re.findall(r'on plain tables it finds one thing in (\d+) %', plain(README))
    right, asked = map(int, re.search(r'it finds (\d+) of (\d+), \*\*', CARD).groups())
    assert int(said) == round(100 * right / asked)
    (said,) = re.findall(r'other tables (\d+) in 100', plain(README))
    rows = re.findall(r'^\| [a-z][^|]*\| (\d+) \| (\d+) \| [^|]*%', CARD, re.M)
    rows += re.findall(r'^\| exact \|.* (\d+)/(\d+) \|$', CARD, re.M)
    right, asked = (sum(int(row[i]) for row in rows) for i in (0, 1))
    assert int(said) == round(100 * right / asked)


def test_make_clean_removes_what_is_said_and_nothing_else():
    recipe = re.search(r'^clean:\n\t(.*)$', (ROOT / 'Makefile').read_text(), re.M).group(1)
    removed = set(recipe.removeprefix('rm -rf ').split())
    for page in (README, (ROOT / 'docs/troubleshooting.md').read_text()):
        told = re.search(r'(?:clean` |it )removes ([^;.]*(?:\.venv[^;.]*)*)[;|]', plain(page))
        assert set(re.findall(r'`([^`]*)`', told.group(1))) == removed


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)#\s]+)', page.read_text()):
        if '://' not in target:
            assert (page.parent / target).exists(), target
