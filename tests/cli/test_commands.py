# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the commands print, and how they refuse."""

import json
import re
import shutil
import struct
import subprocess
import sys
import zlib
from importlib.metadata import version

import numpy as np
import pytest

from molmo_ros.cameras.files import write_camera, write_color, write_depth
from molmo_ros.cli import COMMANDS, main
from molmo_ros.engine.shipped import default_checkpoint
from molmo_ros.tabletop.questions.wording import plural
from molmo_ros.tabletop.samples.table_views import view_of
from molmo_ros.tabletop.world import COLOURS

SEED = 5000
POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:17aa\nsize 20480\n'


@pytest.fixture(scope='module')
def view():
    return view_of(SEED)


@pytest.fixture(scope='module')
def files(view, tmp_path_factory):
    folder = tmp_path_factory.mktemp('files')
    write_color(folder / 'color.png', view.picture.color)
    write_depth(folder / 'depth.png', view.picture.depth)
    write_camera(folder / 'camera.yaml', view.picture.camera)
    return folder


def command(*arguments):
    return subprocess.run(
        [sys.executable, '-m', 'molmo_ros.cli', *map(str, arguments)],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as left:
        main([*name.split(), '--help'])
    assert left.value.code == 0
    assert f'molmo-ros {name}' in capsys.readouterr().out


@pytest.mark.parametrize(
    'arguments',
    [['dance'], ['ask'], ['ask', 'a', 'b', '--mode', 'x'], ['demo', '--table', 'x']],
)
def test_what_is_no_command_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert 'usage:' in capsys.readouterr().err


def test_without_a_command_all_are_listed(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(f'  {name} ' in printed for name in COMMANDS)


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as left:
        main(['--version'])
    assert left.value.code == 0
    assert capsys.readouterr().out == f'molmo-ros {version("molmo-ros")}\n'


@pytest.mark.parametrize(
    'word, meant',
    [('aks', 'ask'), ('chek', 'check'), ('eval-tabletop', 'eval tabletop'), ('fetsch', 'fetch')],
)
def test_a_mistyped_command_is_told_what_was_meant(word, meant, capsys):
    with pytest.raises(SystemExit) as left:
        main([word, 'x.png', 'mug'])
    assert left.value.code == 2
    assert f'did you mean {meant}?' in capsys.readouterr().err


COMPLETE = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
function=$(complete -p molmo-ros | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function molmo-ros "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
echo "${{COMPREPLY[@]}}"
"""


def completed(typed, files, folder, capsys):
    assert main(['completion', 'bash']) == 0
    (folder / 'script').write_text(capsys.readouterr().out)
    lines = COMPLETE.format(script=folder / 'script', words=f'molmo-ros {typed}')
    result = subprocess.run(['bash', '-c', lines], cwd=files, capture_output=True, text=True)
    assert result.stderr == ''
    return result.stdout.strip()


@pytest.mark.parametrize(
    'typed, offered',
    [
        ('fet', 'fetch'),
        ('ask color.png --mod', '--mode'),
        ("ask color.png --mode ''", 'point count ask'),
        ('ask dep', 'depth.png'),
        ('ask color.png --camera cam', 'camera.yaml'),
        ('eval tab', 'tabletop'),
        ('eval tabletop --see', '--seeds'),
    ],
)
def test_a_shell_completes_commands_options_and_files(typed, offered, files, tmp_path, capsys):
    assert completed(typed, files, tmp_path, capsys) == offered


@pytest.mark.parametrize(
    'typed, offered',
    [('mend', 'mend'), ('mend ch', 'checkpoint'), ('mend checkpoint --de', '--device')],
)
def test_a_shell_completes_a_command_that_is_two_words_only(
    typed, offered, files, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(COMMANDS, 'mend checkpoint', COMMANDS['check'])
    assert completed(typed, files, tmp_path, capsys) == offered


def test_what_may_lie_on_the_demos_tables_is_told(capsys):
    assert main(['demo', '--list', '--table', 'rich']) == 0
    printed = capsys.readouterr().out
    for word in (*COLOURS, 'scissors', 'stem of the glass', '--questions'):
        assert word in printed.replace('\n  ', ' ')
    assert main(['demo', '--list', '--table', 'easy']) == 0
    assert 'scissors' not in capsys.readouterr().out


@pytest.mark.parametrize('given', [[], ['--checkpoint', str(default_checkpoint())]])
def test_who_names_no_checkpoint_is_told_once_what_the_demos_can_see(given, files, capsys):
    assert main(['ask', str(files / 'color.png'), 'the mug', *given]) == 0
    output = capsys.readouterr()
    told = [line for line in output.err.splitlines() if 'rendered tables only' in line]
    assert len(told) == (0 if given else 1) and 'rendered tables' not in output.out
    assert all('molmo-ros fetch allenai/Molmo2-4B' in line for line in told)


def status_of(words):
    """What the shell gets, from the command itself or from the reader of its arguments."""
    try:
        return main(words)
    except SystemExit as left:
        return left.code


@pytest.mark.parametrize(
    'arguments, complaint',
    [
        ('ask missing.png mug', 'missing.png'),
        ('ask camera.yaml mug', 'not an image'),
        (['ask', 'color.png', ' '], 'query is empty'),
        ('ask color.png mug --depth missing.png', 'missing.png'),
        ('ask color.png mug --camera depth.png', 'depth.png'),
        ('ask color.png mug --camera camera.yaml --rectified', 'should have P'),
        ('ask color.png mug --camera camera.yaml --camera-name left', "no camera 'left'"),
        ('ask color.png mug --camera-name left', '--camera'),
        ('ask color.png mug --depth depth.png --depth-unit 5000', '1/5000'),
        ('ask color.png mug --checkpoint nowhere', 'nowhere'),
        ('ask color.png mug --device cuda:99', 'cuda'),
        ('ask color.png mug --max-crops 999', 'max_crops'),
        ('eval tabletop --seeds 9', '--seeds'),
        ('eval tabletop --seeds 9:3', '--seeds'),
        ('eval tabletop --limit 0', '--limit'),
        ('eval tabletop --view 640', '--view'),
        ('eval tabletop --view 8x6', '--view'),
        ('eval tabletop color.png', 'unrecognized arguments: color.png'),
        ('eval tabletop --report nowhere/report.html', 'nowhere'),
        ('eval pixmo-count', 'required: FOLDER'),
        ('eval pixmo-count nowhere', 'nowhere'),
        ('eval pixmo-count . --view 320x240', '--view'),
        ('eval point-bench .', 'data.json'),
        ('demo --out color.png', 'color.png'),
    ],
)
def test_a_mistake_is_told_in_a_sentence(arguments, complaint, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    words = arguments.split() if isinstance(arguments, str) else arguments
    assert status_of(words) == 2
    output = capsys.readouterr()
    assert complaint in output.err
    assert 'Traceback' not in output.err and output.out == ''


def test_asking_a_file_gives_pixels_and_metres(view, files, tmp_path):
    item, out = view.scene.objects[0], tmp_path / 'answer.png'
    result = command(
        'ask',
        files / 'color.png',
        f'the {item.colour} {item.kind}',
        *('--depth', files / 'depth.png', '--camera', files / 'camera.yaml'),
        *('--out', out, '--json'),
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    (point,) = report['points']
    assert 0 <= point['u'] <= 640 and 0 <= point['v'] <= 480
    assert point['status_3d'] == 'OK'
    # The point is where its pixel says, as far as the depth there says.
    pixel = view.picture.camera.project(np.array(point['position']))
    assert pixel + 0.5 == pytest.approx((point['u'], point['v']), abs=0.01)
    row, column = int(point['v']), int(point['u'])
    assert point['position'][2] == pytest.approx(view.picture.depth[row, column], abs=0.01)
    # In pixels and in metres; the point is in the middle of the thing.
    assert point['pixel_spread'] > 0.1 and 0 < point['spread'] < 0.01
    assert point['near_edge'] is False
    assert report['count'] == 1 and not report['absent'] and report['presence'] > 0.9
    assert report['seconds'].keys() >= {'vision', 'decode'}
    assert out.stat().st_size > 1000


def asked(capsys, *arguments):
    assert main(['ask', *map(str, arguments), '--json']) == 0
    return json.loads(capsys.readouterr().out)


def test_a_photo_that_is_stored_turned_is_taken_as_stored_where_depth_belongs_to_it(
    view, files, tmp_path, capsys
):
    """Half a turn: the sizes fit either way, and the positions would be those of other things."""
    item, photo = view.scene.objects[0], tmp_path / 'photo.png'
    query = f'the {item.colour} {item.kind}'
    plain = (files / 'color.png').read_bytes()
    exif = b'II*\0' + struct.pack('<IHHHIHHI', 8, 1, 0x0112, 3, 1, 3, 0, 0)
    chunk = struct.pack('>I', len(exif)) + b'eXIf' + exif
    photo.write_bytes(plain[:33] + chunk + struct.pack('>I', zlib.crc32(chunk[4:])) + plain[33:])
    at_hand = '--depth', files / 'depth.png', '--camera', files / 'camera.yaml'
    (upright,) = asked(capsys, files / 'color.png', query, *at_hand)['points']
    report = asked(capsys, photo, query, *at_hand)
    (turned,) = report['points']
    assert turned['position'] == pytest.approx(upright['position'], abs=1e-9)
    assert any('orientation 3' in note for note in report['notes'])
    # Without either, it is seen as people see it.
    report = asked(capsys, photo, 'the mug')
    assert any('as it is shown' in note for note in report['notes'])


def test_the_unit_of_depth_is_named_where_nothing_says_it_and_taken_where_it_is_given(
    view, files, tmp_path, capsys
):
    """In steps of 1/4000 m, as some cameras have it, this table is four times as far."""
    item = view.scene.objects[0]
    query = f'the {item.colour} {item.kind}'
    camera = '--camera', files / 'camera.yaml', '--noise', 'ideal'
    quarters = np.rint(np.nan_to_num(view.picture.depth) * 4000).astype(np.uint16)
    np.save(tmp_path / 'quarters.npy', quarters)
    depth = '--depth', tmp_path / 'quarters.npy'
    report = asked(capsys, files / 'color.png', query, *camera, *depth)
    assert any('--depth-unit' in sentence for sentence in report['assumed'])
    report = asked(capsys, files / 'color.png', query, *camera, *depth, '--depth-unit', '0.25mm')
    assert report['assumed'] == []
    (point,) = report['points']
    row, column = int(point['v']), int(point['u'])
    assert point['position'][2] == pytest.approx(view.picture.depth[row, column], abs=0.01)
    np.save(tmp_path / 'quarters.npy', view.picture.depth * 1000)
    report = asked(capsys, files / 'color.png', query, *camera, *depth)
    assert any('millimetres as 32FC1' in note for note in report['notes'])


def test_whose_noise_was_taken_is_said_where_no_camera_is_named(view, files, capsys):
    item = view.scene.objects[0]
    query = f'the {item.colour} {item.kind}'
    at_hand = (
        '--depth',
        files / 'depth.png',
        '--depth-unit',
        'mm',
        '--camera',
        files / 'camera.yaml',
    )
    (said,) = asked(capsys, files / 'color.png', query, *at_hand)['assumed']
    assert said.startswith('depth noise') and '--noise' in said and 'azure_kinect' in said
    assert asked(capsys, files / 'color.png', query, *at_hand, '--noise', 'd455')['assumed'] == []
    assert asked(capsys, files / 'color.png', query)['assumed'] == []


def test_without_depth_the_points_stay_in_the_image(files, view, capsys):
    item = view.scene.objects[0]
    assert main(['ask', str(files / 'color.png'), f'the {item.colour} {item.kind}']) == 0
    printed = capsys.readouterr().out
    assert 'confidence' in printed
    # Nor is anything said of what nobody asked for, least of all in ROS's words.
    assert '3D' not in printed and 'camera_info' not in printed.lower()
    assert re.search(r'count 1; presence (0\.9|1\.0)', printed)


@pytest.mark.parametrize('form', ['The {}.', '"{}"', 'Could you find the {}, please?'])
def test_the_demo_checkpoint_is_asked_as_people_ask(form, files, view, capsys):
    item = view.scene.objects[0]
    name = f'{item.colour} {item.kind}'
    (plain,) = asked(capsys, files / 'color.png', f'the {name}')['points']
    (point,) = asked(capsys, files / 'color.png', form.format(name.title()))['points']
    assert (point['u'], point['v']) == pytest.approx((plain['u'], plain['v']), abs=10)


def test_a_question_how_many_counts_what_it_names(files, view, capsys):
    kind = view.scene.objects[0].kind
    there = sum(item.kind == kind for item in view.scene.objects)
    query = f'How many {plural(kind)} are there?'
    report = asked(capsys, files / 'color.png', query, '--mode', 'count')
    assert report['count'] == len(report['points']) == there


def test_brackets_in_a_label_are_words_and_no_markup(files, view, capsys):
    item = view.scene.objects[0]
    query = f'{item.colour} {item.kind} [/i] [b]here[/b] :cat:'
    asked = ['ask', str(files / 'color.png'), query]
    assert main([*asked, '--json']) == 0
    label = json.loads(capsys.readouterr().out)['points'][0]['label']
    assert '[' in label
    assert main(asked) == 0
    assert label in capsys.readouterr().out


@pytest.mark.parametrize('name', ['color.png', 'depth.png', 'camera.yaml'])
def test_a_pointer_of_git_lfs_is_named_for_what_it_is(name, files, tmp_path, capsys):
    for file in files.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / name).write_text(POINTER)
    color, depth, camera = (str(tmp_path / n) for n in ('color.png', 'depth.png', 'camera.yaml'))
    assert main(['ask', color, 'mug', '--depth', depth, '--camera', camera]) == 2
    said = capsys.readouterr().err
    assert name in said and 'git lfs pull' in said


@pytest.mark.parametrize(
    'name', ['config.json', 'tokenizer.json', 'model-00002-of-00004.safetensors']
)
@pytest.mark.parametrize('arguments', [('ask', 'color.png', 'mug', '--checkpoint'), ('check',)])
def test_a_checkpoint_of_pointers_names_the_file(
    arguments, name, files, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(files)
    (tmp_path / name).write_text(POINTER)
    assert main([*arguments, str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert name in said and 'git lfs pull' in said


def test_a_calibration_that_was_chosen_for_the_user_is_said(files, view, tmp_path, capsys):
    item, one = view.scene.objects[0], view.picture.camera
    fields = {'width': one.width, 'height': one.height, 'K': one.K.tolist()}
    (tmp_path / 'two.json').write_text(json.dumps({'left': fields, 'right': fields}))
    asked = ['ask', str(files / 'color.png'), f'the {item.colour} {item.kind}', '--json']
    asked += ['--depth', str(files / 'depth.png'), '--depth-unit', 'mm']
    asked += ['--noise', 'ideal', '--camera', str(tmp_path / 'two.json')]
    assert main(asked) == 0
    (assumed,) = json.loads(capsys.readouterr().out)['assumed']
    assert 'left' in assumed and '--camera-name' in assumed
    assert main([*asked, '--camera-name', 'right']) == 0
    assert json.loads(capsys.readouterr().out)['assumed'] == []


def test_measuring_gives_figures_and_how_sure_they_are(capsys):
    seeds = f'{SEED}:{SEED + 9}'
    asked = ['tabletop', '--table', 'easy', '--seeds', seeds, '--limit', '4', '--json']
    assert main(['eval', *asked]) == 0
    report = json.loads(capsys.readouterr().out)
    hits, absence = report['hits'], report['absence']
    assert hits['n'] + absence['n'] == 4
    low, high = hits['interval_95']
    assert low <= hits['rate'] <= high
    assert report['position_of_hits']['n'] <= hits['right']
    assert report['cost']['median_passes'] > 0
