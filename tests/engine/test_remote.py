# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A server in place of a checkpoint: the protocol, and all that may go wrong on the way."""

import ssl
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jinja2 import Template

from benchmarks.stub_server import Stub, serving
from molmo_ros.engine import (
    EngineError,
    InvalidQuestion,
    Question,
    QueuedQuestion,
    Stopped,
    load_engine,
)
from molmo_ros.engine.remote import server as protocol
from molmo_ros.engine.remote.address import KEY
from molmo_ros.engine.remote.manner import Manner
from molmo_ros.pointing import Mode

MOLMO2 = '<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n'


def picture(*discs, width=400, height=300, seed=0):
    """Grey, with red discs at such shares of width and height."""
    image = np.full((height, width, 3), 200, np.uint8)
    image[0, :8] = np.random.default_rng(seed).integers(100, 150, (8, 3))  # another for each seed
    v, u = np.mgrid[:height, :width] + 0.5
    for x, y in discs:
        image[(u - x * width) ** 2 + (v - y * height) ** 2 < 15**2] = (220, 20, 20)
    return image


@pytest.fixture
def opened():
    """Opens an engine for a stub, not tested unless it is asked for, and closes it in the end."""
    engines = []

    def load(stub, model='', **options):
        engines.append(load_engine(stub.url + model, **{'self_test': 'off', **options}))
        return engines[-1]

    yield load
    for engine in engines:
        engine.close()


def words(request):
    return request['messages'][0]['content'][1]['text']


@pytest.mark.parametrize(
    'style, model, template',
    [
        ('molmo', 'Molmo-72B-0924', ' User: {prompt} Assistant:'),
        ('molmo2', 'Molmo2-ER', MOLMO2),
        ('json', 'Qwen3-VL-8B-Instruct', ''),
        ('json_yx', 'gemini-robotics-er-2', ''),
    ],
)
def test_each_style_points_where_the_thing_is_and_passes_the_self_test(
    opened, style, model, template
):
    owner = 'vllm' if template else 'somebody'
    with serving(Stub(model, owner, style, template=template)) as stub:
        engine = opened(stub, f'#{model}', self_test='on')
        assert engine.assumed == ()
        answer = engine.answer(picture((0.3, 0.7), (0.85, 0.2)), Question('red lids'))
        places = np.array([(point.u, point.v) for point in answer.points])
        assert places == pytest.approx(np.array([(120, 210), (340, 60)]), abs=1)
        assert {point.label for point in answer.points} == {'red lids'} or owner == 'somebody'
        nothing = engine.answer(picture(), Question('red lids'))
        assert nothing.absent and not nothing.points


def test_a_frame_is_sent_once_in_png_at_full_size_and_named_after(opened):
    """Encoding it again takes the server most of an answer's time."""
    image = picture((0.5, 0.25), width=1031, height=77)
    with serving(Stub()) as stub:
        engine = opened(stub)
        for _ in range(2):
            (point,) = engine.answer(image, Question('lid')).points
            assert (point.u, point.v) == pytest.approx((515.5, 19.25), abs=1)
        first, second = (request['messages'][0]['content'][0] for request in stub.requests)
        assert first['uuid'] == second['uuid'] and second['image_url'] is None
        (seen,) = stub.pictures.values()
        assert np.array_equal(seen[..., ::-1], image)
        # A server that was started again has forgotten it, and is sent it again.
        stub.pictures.clear()
        assert engine.answer(image, Question('lid')).points
        assert len(stub.requests) == 4


def test_what_is_asked_is_what_vllm_wants(opened):
    with serving(Stub()) as stub:
        answer = opened(stub).answer(picture((0.42, 0.5)), Question('Red Lid'))
        (request,) = stub.requests
    assert words(request).startswith('Point to Red Lid\n')
    assert [part['type'] for part in request['messages'][0]['content']] == ['image_url', 'text']
    assert request['temperature'] == 0 and request['skip_special_tokens'] is False
    assert request['stop'] == ['" alt'] and request['include_stop_str_in_output'] is True
    # The server stopped before the label; the answer is whole all the same.
    assert answer.text == ' <point x="42.0" y="50.0" alt="red lid">red lid</point>'
    assert answer.passes < 25


def test_confidence_and_presence_come_from_logprobs_and_are_unknown_without(opened):
    image = picture((0.3, 0.6))
    with serving(Stub()) as stub:
        (point,) = opened(stub).answer(image, Question('lid')).points
        # The stub believes a tenth in the next digit: mostly near, sometimes ten percent away.
        assert 0.7 < point.confidence < 0.95 and 5 < point.spread < 60
        assert opened(stub).answer(image, Question('lid')).presence > 0.9
    with serving(Stub(logprobs=False)) as stub:
        answer = opened(stub).answer(image, Question('lid'))
        assert np.isnan(answer.points[0].confidence) and np.isnan(answer.presence)
        assert answer.points[0].u == pytest.approx(120, abs=1)


def test_counts_limits_and_plain_questions(opened):
    image = picture((0.2, 0.5), (0.5, 0.5), (0.8, 0.5))
    with serving(Stub(token_s=0.005)) as stub:
        engine = opened(stub)
        answer = engine.answer(image, Question('lids', max_points=2))
        assert len(answer.points) == 2 and answer.passes < 40  # reading ended there
        assert answer.work['text_tokens'] == answer.passes and 'cached_tokens' not in answer.work
        counted = ' Counting the <points x1="20.0" y1="50.0" x2="50.0" y2="50.0" alt="lids">lids'
        stub.answer = lambda prompt: f'{counted}</points> shows a total of 2.'
        assert engine.answer(image, Question('lids', Mode.COUNT)).count == 2
        stub.answer = lambda prompt: ' The lids are red, as is the "alt" text.'
        asked = engine.answer(image, Question('What colour are the lids?', Mode.ASK))
        assert asked.text == stub.answer('')
        assert words(stub.requests[-1]) == 'What colour are the lids?'
        assert 'stop' not in stub.requests[-1]


def test_questions_about_new_frames_are_in_flight_together(opened):
    """Five robots wait for one answer's time, not for five."""
    with serving(Stub()) as stub:
        engine = opened(stub)
        assert engine.at_once >= 5
        answers, all_there = [], threading.Barrier(5)

        def answer(prompt):
            """Looks at the picture when five have come."""
            all_there.wait(60)
            return ''

        stub.answer = answer

        def ask(seed):
            answers.append(engine.answer(picture((0.1 * seed, 0.5), seed=seed), Question('lid')))

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(1, 6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stub.most_running == 5
        assert sorted(round(a.points[0].u) for a in answers) == [40, 80, 120, 160, 200]


def test_of_several_questions_about_a_new_frame_one_goes_ahead(opened):
    """The others find in the server's cache what they share."""
    with serving(Stub(first_s=0.1)) as stub:
        queries = [Question(f'lid {index}') for index in range(4)]
        answers = opened(stub).answer_many(picture((0.6, 0.4)), queries)
        assert all(answer.points for answer in answers)
        sent = [request['messages'][0]['content'][0]['image_url'] for request in stub.requests]
        assert sent[0] is not None and sent[1:] == [None] * 3


def test_a_question_that_nobody_waits_for_closes_its_connection(opened):
    """The server computes for nobody otherwise; the others go on."""
    with serving(Stub(token_s=0.02)) as stub:
        # Of one there is no end, and it is wanted no more once it has begun.
        stub.answer = lambda prompt: ' on' * 5000 if 'a lid' in prompt else ''
        engine = opened(stub)
        told = {}

        def unwanted():
            return any('a lid' in words(request) for request in stub.requests)

        asked = [
            QueuedQuestion(Question('a lid'), lambda one: told.update(a=one), unwanted),
            QueuedQuestion(Question('another'), lambda one: told.update(b=one)),
        ]
        engine.answer_each(picture((0.5, 0.5)), asked)
        assert isinstance(told['a'], Stopped) and told['b'].points
        # Written to a closed connection, the second time at the latest.
        while stub.running:
            time.sleep(0.01)
        assert stub.aborted == 1


def test_a_server_that_falls_silent_does_not_keep_anybody(opened, monkeypatch):
    monkeypatch.setattr(protocol, 'SILENCE_S', 0.3)
    with serving(Stub(first_s=3)) as stub, pytest.raises(EngineError, match=r'nothing for 0\.3 s'):
        opened(stub).answer(picture(), Question('lid'))


def test_a_connection_dropped_amid_an_answer_is_told_and_not_asked_again(opened):
    with serving(Stub(drop_after=7)) as stub:
        with pytest.raises(EngineError, match='amid an answer'):
            opened(stub).answer(picture((0.5, 0.5)), Question('lid'))
        assert len(stub.requests) == 1


@pytest.mark.parametrize('status, tries', [(503, 2), (429, 2), (500, 0), (400, 0)])
def test_only_what_had_not_begun_is_tried_again(opened, monkeypatch, status, tries):
    monkeypatch.setattr(protocol, 'PAUSES_S', (0.01, 0.01))
    with serving(Stub()) as stub:
        engine = opened(stub)
        stub.statuses = [status] * 2
        if tries:
            assert engine.answer(picture((0.5, 0.5)), Question('lid')).points
        else:
            with pytest.raises(EngineError, match='not now') as caught:
                engine.answer(picture(), Question('lid'))
            assert isinstance(caught.value, InvalidQuestion) == (status == 400)
        assert len(stub.statuses) == 2 - max(tries, 1)


def test_a_server_that_went_away_is_tested_again_before_it_is_believed(opened, monkeypatch):
    """What was started in its place may be another version, that points wrong."""
    monkeypatch.setattr(protocol, 'PAUSES_S', (0.01,))
    with serving(Stub()) as stub:
        engine = opened(stub, self_test='on')
        stub.statuses = [503] * 2
        with pytest.raises(EngineError, match='busy'):
            engine.answer(picture((0.5, 0.5)), Question('lid'))
        stub.drop_after = 0
        with pytest.raises(EngineError, match=r'ended|closed'):
            engine.answer(picture((0.5, 0.5)), Question('lid'))
        stub.drop_after, stub.moved = None, lambda x, y: (x, 100 - y)
        with pytest.raises(EngineError, match='top and bottom mirrored'):
            engine.answer(picture((0.5, 0.2)), Question('lid'))
        stub.moved = lambda x, y: (x, y)
        assert engine.answer(picture((0.5, 0.2)), Question('lid')).points[0].v == pytest.approx(60)


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(opened, monkeypatch):
    monkeypatch.setenv('OPENAI_API_KEY', 'for-somebody-else')
    monkeypatch.setenv('OPENAI_ORG_ID', 'mine')
    with serving(Stub()) as stub:
        opened(stub).answer(picture((0.5, 0.5)), Question('lid'))
        sent = ' '.join(f'{k}: {v}' for k, v in stub.headers[-1].items())
        assert 'for-somebody-else' not in sent and 'mine' not in sent
        stub.key = 'sesame'
        with pytest.raises(EngineError, match=KEY):
            opened(stub)
        monkeypatch.setenv(KEY, 'sesame')
        assert opened(stub).answer(picture((0.5, 0.5)), Question('lid')).points


def test_what_leaves_the_machine_in_clear_is_warned_of(opened):
    from molmo_ros.engine.remote.address import read_address

    with serving(Stub()) as stub:
        assert opened(stub).warnings == ()
    (warning,) = read_address('http://gpu-box:8000/v1#x').warnings
    assert 'unencrypted' in warning
    assert read_address('https://gpu-box/v1').warnings == ()
    assert read_address('http://[::1]:8000').warnings == ()


@pytest.mark.parametrize(
    'address, told',
    [
        ('http://', 'is not the address'),
        ('http:gpu-box/v1', 'is not the address'),
        ('http://gpu-box:eight/v1', 'not understood'),
        ('http://robot:secret@gpu-box/v1', KEY),
        ('http://gpu-box/v1?key=secret', 'is not the address'),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(address, told):
    with pytest.raises(EngineError, match=told):
        load_engine(address)


def test_what_is_served_has_to_be_named_and_known(opened):
    with serving(Stub(model='pointer')) as stub:
        with pytest.raises(EngineError, match=r'other is not among .*pointer'):
            opened(stub, '#other')
        with pytest.raises(EngineError, match='set style to one of molmo, molmo2, json, json_yx'):
            opened(stub)
        assert opened(stub, style='molmo').answer(picture((0.5, 0.5)), Question('lid')).points
        with pytest.raises(EngineError, match='those of the server'):
            opened(stub, style='molmo', quantize='int4')


def test_nobody_there_is_one_sentence(monkeypatch):
    monkeypatch.setattr(protocol, 'PAUSES_S', (0.01,))
    with serving(Stub()) as stub:
        pass
    with pytest.raises(EngineError, match=r'cannot be reached .*is the server running'):
        load_engine(stub.url)


def self_signed(folder):
    """A certificate of localhost that no authority knows, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'localhost')])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName('localhost')]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / 'certificate.pem', folder / 'key.pem'
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.TraditionalOpenSSL
    clear = serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, clear))
    return paths


def test_a_stranger_s_certificate_is_not_trusted(tmp_path):
    """Nobody can put himself between a robot and its server."""
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(('127.0.0.1', 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(EngineError, match='is not trusted'):
            load_engine(f'https://localhost:{server.server_address[1]}/v1')
    finally:
        server.shutdown()
        server.server_close()


def test_no_torch_is_needed_to_ask_a_server():
    """A robot without a GPU installs neither torch nor transformers."""
    code = """
        import sys

        sys.modules['torch'] = sys.modules['transformers'] = None  # importing them raises

        from benchmarks.stub_server import Stub, serving
        from molmo_ros.cli import main

        with serving(Stub()) as stub:
            assert main(['check', stub.url]) == 0
            picture = sys.argv[1]
            assert main(['ask', picture, 'the lid', '--checkpoint', stub.url, '--json']) == 0
    """
    path = Path(__file__).parents[2] / 'docs/images/gallery.jpg'
    result = subprocess.run(
        [sys.executable, '-c', dedent(code), str(path)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert 'all together: 3 points' in result.stdout


@pytest.mark.parametrize('content', ['Point to lid\nor say', [{'type': 'text', 'text': 'lid'}]])
def test_the_template_for_the_server_writes_what_molmo_was_taught(content):
    """One blank less and the answer is rubbish; Jinja takes blanks away where one does not look."""
    template = Template((Path(__file__).parents[2] / 'config/molmo.jinja').read_text())
    words = content if isinstance(content, str) else 'lid'
    written = template.render(messages=[{'role': 'user', 'content': content}])
    # The server's processor writes the first blank.
    assert f' {written}' == Manner.MOLMO.written(words)


def test_a_list_that_the_limit_of_tokens_cut_says_so(opened, monkeypatch):
    """What is missing of it would not be looked for."""
    monkeypatch.setattr(protocol, 'MOST_TOKENS', 40)
    with serving(Stub()) as stub:
        image = picture(*((x / 10, 0.5) for x in range(1, 9)))
        answer = opened(stub).answer(image, Question('lids'))
        assert answer.truncated and 0 < len(answer.points) < 8
        assert not opened(stub).answer(picture((0.5, 0.5)), Question('lid')).truncated


def test_what_came_back_is_asked_nothing_while_it_is_tested(opened, monkeypatch):
    """An answer of a server that points wrong, because another question was testing it."""
    monkeypatch.setattr(protocol, 'PAUSES_S', (0.01,))
    with serving(Stub()) as stub:
        engine = opened(stub, self_test='on')
        stub.drop_after = 0
        with pytest.raises(EngineError, match=r'ended|closed'):
            engine.answer(picture((0.5, 0.5)), Question('lid'))
        stub.drop_after, stub.moved = None, lambda x, y: (x, 100 - y)
        told = []

        def ask():
            asked = [QueuedQuestion(Question('another'), told.append)]
            engine.answer_each(picture((0.5, 0.2)), asked)

        other = threading.Thread(target=ask)

        def ask_meanwhile(prompt):
            stub.answer = lambda prompt: ''
            other.start()
            other.join(0.4)  # it should wait
            return ''

        stub.answer = ask_meanwhile
        with pytest.raises(EngineError, match='top and bottom mirrored'):
            engine.answer(picture((0.5, 0.2)), Question('lid'))
        other.join()
        assert [type(one) for one in told] == [EngineError]
        assert 'another' not in ' '.join(map(words, stub.requests))


def test_closing_ends_what_is_being_asked(opened):
    """Each is told once that the engine is closed, and nobody waits for ever."""
    with serving(Stub()) as stub:
        asked, leave = threading.Event(), threading.Event()

        def silent(prompt):
            asked.set()
            leave.wait(60)
            return ''

        stub.answer = silent
        engine = opened(stub)
        told = [], []
        questions = [QueuedQuestion(Question(str(n)), told[n].append) for n in range(2)]
        asking = threading.Thread(
            target=engine.answer_each, args=(picture((0.5, 0.5)), questions), daemon=True
        )
        asking.start()
        assert asked.wait(60)
        engine.close()
        asking.join(20)
        leave.set()
        assert not asking.is_alive()
        assert [[str(error) for error in one] for one in told] == [['the engine is closed']] * 2
