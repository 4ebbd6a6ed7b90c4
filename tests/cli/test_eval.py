# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval` on small data sets, with the checkpoint that comes with the package."""

import json
import re
import resource
from html.parser import HTMLParser

import numpy as np
import pytest

from molmo_ros.cameras.files import write_color
from molmo_ros.cli import main
from molmo_ros.tabletop.samples.data_set import easy_samples
from molmo_ros.tabletop.samples.table_views import view_of

SEED = 5000


@pytest.fixture(scope='module')
def view():
    return view_of(SEED)


def evaluated(capsys, *arguments):
    assert main(['eval', *map(str, arguments), '--json']) == 0
    return json.loads(capsys.readouterr().out)


def right_of(report):
    return {name: (topic['right'], topic['n']) for name, topic in report['topics'].items()}


@pytest.fixture
def pixmo(tmp_path, view):
    """The rendered table and its questions as a folder in the layout of PixMo-Points."""
    write_color(tmp_path / 'table.png', view.picture.color)
    rows = []
    for number, sample in enumerate(easy_samples([SEED])):
        masks = sample.masks() if sample.masks else ()
        names = [f'{number}-{index}.png' for index in range(len(masks))]
        for name, mask in zip(names, masks, strict=True):
            white = mask.astype(np.uint8) * 255
            write_color(tmp_path / name, white[..., None].repeat(3, 2))
        points = [{'x': x, 'y': y} for x, y in sample.targets]
        row = {'image': 'table.png', 'label': sample.query, 'points': points, 'masks': names}
        rows.append(json.dumps(row))
    (tmp_path / 'test.jsonl').write_text('\n'.join(rows))
    return tmp_path


def test_the_same_questions_on_disk_score_as_when_they_are_rendered(pixmo, capsys):
    rendered = evaluated(capsys, 'tabletop', '--table', 'easy', '--seeds', f'{SEED}:{SEED + 1}')
    on_disk = evaluated(capsys, 'pixmo-points', pixmo, '--split', 'test')
    assert on_disk['topics']['pointing']['recall'] * rendered['topics']['one']['n'] == (
        pytest.approx(rendered['topics']['one']['right'])
    )
    assert right_of(on_disk)['absent'] == right_of(rendered)['absent']
    assert on_disk['pictures'] == 1 and on_disk['position_of_hits']['n'] == 0


def test_together_and_one_by_one_the_answers_are_the_same(capsys):
    arguments = ('tabletop', '--table', 'rich', '--seeds', f'{SEED}:{SEED + 1}')
    together = evaluated(capsys, *arguments)
    one_by_one = evaluated(capsys, *arguments, '--one-by-one')
    assert right_of(together) == right_of(one_by_one)
    assert together['wrong'] == one_by_one['wrong']


def test_counts_are_reported_up_to_six_and_all(tmp_path, view, capsys):
    (tmp_path / 'images').mkdir()
    write_color(tmp_path / 'images' / 'a.png', view.picture.color)
    item = view.scene.objects[0]
    rows = [('a.png', f'{item.colour} {item.kind}s', 1), ('a.png', 'objects', 12)]
    lines = [json.dumps({'image': i, 'label': label, 'count': n}) for i, label, n in rows]
    (tmp_path / 'validation.jsonl').write_text('\n'.join(lines))
    counts = evaluated(capsys, 'pixmo-count', tmp_path)['counts']
    assert (counts['n'], counts['up_to_6']['n']) == (2, 1)
    assert counts['right'] <= 1 and counts['mean_absolute_error'] > 0


class _Page(HTMLParser):
    """Every address that a page would load, and its text."""

    def __init__(self):
        super().__init__()
        self.sources, self.text = [], ''

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ('src', 'href')]
        assert tag not in ('script', 'link')

    def handle_data(self, data):
        self.text += data


def test_the_report_is_one_page_with_figures_and_pictures(tmp_path, capsys):
    page = tmp_path / 'report.html'
    arguments = ('tabletop', '--table', 'rich', '--seeds', f'{SEED}:{SEED + 2}')
    report = evaluated(capsys, *arguments, '--report', page)
    parser = _Page()
    parser.feed(page.read_text())
    assert len(parser.sources) >= report['questions'] / 2
    assert all(source.startswith('data:image/jpeg;base64,') for source in parser.sources)
    assert 'url(' not in page.read_text()
    for heading in ('By type of question', 'Confidence', 'Worst', 'A random sample'):
        assert heading in parser.text
    rate = report['topics']['one']
    assert f'{rate["right"]} of {rate["n"]}' in parser.text


def test_what_a_user_typed_cannot_change_the_page(tmp_path, view, capsys):
    write_color(tmp_path / 'a.png', view.picture.color)
    label = '<script>alert(1)</script> & "mugs"'
    row = {'image': 'a.png', 'label': label, 'points': [{'x': 1, 'y': 1}]}
    row['collection_method'] = '<b id="x">by hand</b>'
    (tmp_path / 'test.jsonl').write_text(json.dumps(row))
    page = tmp_path / 'report.html'
    evaluated(capsys, 'pixmo-points', tmp_path, '--report', page)
    parser = _Page()
    parser.feed(page.read_text())
    assert label in parser.text and row['collection_method'] in parser.text


def test_brackets_in_a_data_set_are_words_and_no_markup(tmp_path, view, capsys):
    write_color(tmp_path / 'a.png', view.picture.color)
    kinds = ('[/] by hand', '[red]counted[/red]', 'drawn :cat:')
    rows = [
        {
            'image': 'a.png',
            'label': '[b]mug[/]',
            'points': [{'x': 1, 'y': 1}],
            'collection_method': kind,
        }
        for kind in kinds
    ]
    (tmp_path / 'test.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    assert main(['eval', 'pixmo-points', str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert all(kind in printed for kind in kinds)


def test_a_worse_picture_or_another_shape_is_asked_the_same(capsys):
    easy = ('tabletop', '--table', 'easy', '--seeds', f'{SEED}:{SEED + 1}')
    plain = evaluated(capsys, *easy)
    worse = evaluated(capsys, *easy, '--photometric', 'all')
    wide = evaluated(capsys, *easy, '--view', '500x200')
    assert plain['questions'] == worse['questions'] == wide['questions']
    assert 'all' in worse['data'] and '500x200' in wide['data']


def test_without_json_it_is_told_in_a_table(pixmo, capsys):
    assert main(['eval', 'pixmo-points', str(pixmo)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r'pointing +\d+ +\d+ +\d+\.\d%', printed)
    assert re.search(r'absent +\d+ +1 ', printed)


def test_missing_pictures_are_told_and_can_be_left_out(pixmo, capsys):
    lines = (pixmo / 'test.jsonl').read_text().splitlines()
    lost = {'image_url': 'https://lost', 'label': 'mug', 'points': []}
    (pixmo / 'test.jsonl').write_text('\n'.join([json.dumps(lost), *lines]))
    assert main(['eval', 'pixmo-points', str(pixmo)]) == 2
    assert f'1 of {len(lines) + 1} questions lack their picture' in capsys.readouterr().err
    report = evaluated(capsys, 'pixmo-points', pixmo, '--skip-missing')
    assert (report['questions'], report['left_out']) == (len(lines), 1)


def test_a_run_is_kept_gone_on_from_compared_and_judged_again(tmp_path, capsys):
    a, b, page = tmp_path / 'a.jsonl', tmp_path / 'b.jsonl', tmp_path / 'page.html'
    easy = ('tabletop', '--table', 'easy', '--seeds', f'{SEED}:{SEED + 1}')
    whole = evaluated(capsys, *easy, '--predictions', a)
    assert (whole['schema'], whole['version']) == ('molmo_ros/evaluation', 1)
    model = whole['model']
    assert model['name'] == 'the demo checkpoint' and len(model['digest']) == 64
    known = ('dtype', 'quantization', 'max_crops', 'device', 'adapter')
    assert [model[name] for name in known] == ['float32', 'none', 12, 'cpu', '']
    lines = a.read_bytes().splitlines(keepends=True)
    a.write_bytes(b''.join(lines[:-2]) + lines[-2][:40])
    again = evaluated(capsys, *easy, '--predictions', a)
    assert len(a.read_bytes().splitlines()) == len(lines) == whole['questions'] + 1
    assert (again['topics'], again['wrong']) == (whole['topics'], whole['wrong'])
    assert main(['eval', *easy, '--predictions', str(a), '--max-crops', '1']) == 2
    assert 'model.max_crops (then 12, now 1)' in capsys.readouterr().err
    rescored = evaluated(capsys, 'rescore', a)
    assert (rescored['topics'], rescored['calibration']) == (again['topics'], again['calibration'])
    evaluated(capsys, *easy, '--photometric', 'all', '--max-crops', '1', '--predictions', b)
    compared = evaluated(capsys, 'compare', a, b, '--report', page)
    assert compared['questions'] == whole['questions'] and compared['all']['only_a_right'] > 0
    parser = _Page()
    parser.feed(page.read_text())
    # The tables are rendered again, the second time with the change.
    assert len(parser.sources) == 2 * (
        compared['all']['only_a_right'] + compared['all']['only_b_right']
    )
    assert len(set(parser.sources)) == len(parser.sources)
    assert 'photometric is none for A and all for B' in parser.text
    assert main(['eval', 'compare', str(a), str(b)]) == 0
    assert re.search(r'every question +\d+ ', capsys.readouterr().out)


def test_each_kind_of_data_has_its_own_help(capsys):
    told = {}
    for name in ('', 'pictures', 'pixmo-points', 'compare'):
        with pytest.raises(SystemExit):
            main(['eval', *name.split(), '--help'])
        told[name] = capsys.readouterr().out
    assert all(f'eval {name}' in told[''] for name in ('tabletop', 'point-bench', 'rescore'))
    assert '--split' in told['pixmo-points'] and '--split' not in told['pictures']
    assert 'points.jsonl' in told['pictures'] and '--checkpoint' not in told['compare']
    with pytest.raises(SystemExit) as left:
        main(['eval', 'pixmo-point', 'FOLDER'])
    assert left.value.code == 2
    assert 'did you mean eval pixmo-points?' in capsys.readouterr().err


def test_a_full_disk_costs_the_report_and_not_the_figures(pixmo, tmp_path, capsys):
    page, before = tmp_path / 'page.html', resource.getrlimit(resource.RLIMIT_FSIZE)
    page.write_text('of another time')
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        arguments = ['pixmo-points', pixmo, '--split', 'test', '--json', '--report', page]
        status = main(['eval', *map(str, arguments)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told = capsys.readouterr()
    assert status == 2 and 'page.html cannot be written: File too large' in told.err
    assert json.loads(told.out)['topics']['pointing']['n']
    assert page.read_text() == 'of another time'
