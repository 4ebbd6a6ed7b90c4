# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pages as a site, as `make docs` and ROS's build farm make it of manual/."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from catkin_pkg.package import parse_package

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT) for path in (ROOT / 'docs').rglob('*.md'))


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The built site; a warning, such as that of a link without a target, is an error."""
    folder = tmp_path_factory.mktemp('site')
    # With the links followed, as rosdoc2 copies it too.
    shutil.copytree(ROOT / 'manual', folder / 'manual')
    command = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', 'manual', 'html']
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder / 'html'


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_every_page_is_in_the_navigation(page, site):
    assert f'href="{page.with_suffix(".html")}"' in (site / 'index.html').read_text()


def test_a_page_is_found_by_a_word_that_only_it_has(site):
    """The index is what the search box looks in: names of pages, and their numbers by word."""
    index = json.loads((site / 'searchindex.js').read_text().split('(', 1)[1].rpartition(')')[0])
    number = index['terms']['depthai_ros_driv']
    assert index['docnames'][number] == 'docs/cameras'
    assert 'search.html' in (site / 'index.html').read_text()


def test_links_within_the_site_lead_somewhere(site):
    for path in site.rglob('*.html'):
        for target in re.findall(r'href="([^":]*)"', path.read_text()):
            name, _, anchor = unquote(target).partition('#')
            other = path.parent / name.partition('?')[0] if name else path
            assert other.exists(), f'{path.relative_to(site)}: {target}'
            if anchor:
                assert f'id="{anchor}"' in other.read_text(), f'{path.relative_to(site)}: {target}'


def test_links_from_one_page_to_another_stay_on_the_site(site):
    """On a code host they lead to the Markdown file, here to the page."""
    assert 'href="parameters.html"' in (site / 'docs/interfaces.html').read_text()
    assert 'href="docs/cameras.html"' in (site / 'README.html').read_text()


def test_the_build_farm_makes_the_same_site():
    exports = {e.tagname: e.content for e in parse_package(str(ROOT / 'package.xml')).exports}
    attic, settings = yaml.safe_load_all((ROOT / exports['rosdoc2']).read_text())
    assert attic['type'] == 'rosdoc2 config'
    (sphinx,) = (builder['sphinx'] for builder in settings['builders'])
    assert (ROOT / sphinx['sphinx_sourcedir'] / 'conf.py').is_file()
    # An index.md would stand beside the index.rst that rosdoc2 writes.
    assert (ROOT / sphinx['sphinx_sourcedir'] / 'index.rst').is_file()
