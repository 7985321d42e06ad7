import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from egodtm_robot.core.errors import WeightsError
from pretrain.annotate.captions.base import read_facts
from pretrain.annotate.captions.endpoint import EndpointCaptions, EndpointError
from pretrain.annotate.captions.language_model import (
    check,
    conversation,
    describe,
    false_versions,
    read_prompt,
    tidy,
)
from pretrain.annotate.captions.local_chat import TransformersCaptions
from pretrain.annotate.captions.template import TemplateCaptions
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.clip import LEFT, NO_SIDE, RIGHT, Boxes

GOOD = (
    "#C C picks up the red mug with the right hand from the left of the view, "
    "moving it to the right"
)


def square(x, y, size=0.16):
    return (x - size / 2, y - size / 2, x + size / 2, y + size / 2)


def clip_of(narration="#C C picks up the red mug", key="1", seen=True):
    """A right hand carries a mug to the right, away from a kettle's left side."""
    rows = []
    for frame in range(4):
        x = 0.2 + 0.1 * frame
        rows.append((frame, 1, "red mug", NO_SIDE, frame > 0, square(x, 0.5)))
        rows.append((frame, 0, "hand", RIGHT, frame > 0, square(x, 0.62)))
        rows.append((frame, 2, "kettle", NO_SIDE, False, square(0.85, 0.5)))
    frame, track, category, side, contact, xyxy = zip(*rows, strict=True)
    boxes = Boxes(
        frame=np.array(frame, np.int16), track=np.array(track, np.int16), category=list(category),
        side=np.array(side, np.int8), contact=np.array(contact, bool),
        xyxy=np.array(xyxy, np.float32),
    )  # fmt: skip
    return AnnotatedClip(
        key=key,
        frames=np.zeros((4, 16, 16, 3), np.uint8),
        times=np.arange(4) / 2,
        narration=narration,
        scene="scene",
        source="test",
        licence="CC0-1.0",
        boxes=boxes if seen else Boxes.empty(),
    )


# ------------------------------------------------------------------------------------- the answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (GOOD, None),
        ("#C C uses the right hand as C picks up the red mug, to the left of the kettle", None),
        ("", "empty"),
        ("#C C picks up the red mug to the right " * 12, "too long"),
        ("C picks up the red mug with the right hand", "begins otherwise"),
        ("#C C holds the red mug with the right hand", "verb lost"),
        ("#C C picks up the cup with the right hand", "noun lost"),
        ("#C C picks up the red mug from the table with the right hand", "not detected: 'table'"),
        ("#C C picks up the red mug with the left hand", "wrong hand"),
        ("#C C picks up the red mug, moving it to the left and to the right", None),
        ("#C C picks up the red mug, moving it down and to the right", "not measured: 'down'"),
        ("#C C picks up the red mug to the right of the kettle", "not measured: 'right of"),
        ("#C C picks up the red mug next to the kettle, moving it to the right", "not measured"),
        ("#C C picks up the red mug", "nothing added"),
    ],
)
def test_answers_are_taken_only_where_they_hold(answer, reason):
    found = check(answer, read_facts(clip_of()))
    assert (found is None) if reason is None else found.startswith(reason), found


def test_other_forms_of_the_narration_s_words_are_kept_words():
    facts = read_facts(clip_of("pick up red mug"))
    assert check("picking up the red mugs with the right hand", facts) is None


def test_the_sentence_is_cut_out_of_the_answer():
    facts = read_facts(clip_of())
    assert tidy('\n"C picks up the red mug."\nI hope this helps.', facts) == (
        "#C C picks up the red mug"
    )
    assert tidy("  pick up   red mug. ", read_facts(clip_of("pick up red mug"))) == (
        "pick up red mug"
    )
    assert tidy(" \n ", facts) == ""


# ----------------------------------------------------------------------------------- the question


def test_a_question_holds_the_note_the_facts_and_the_example():
    facts = read_facts(clip_of())
    messages = conversation(read_prompt("spatial_caption"), facts)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    last = messages[-1]["content"]
    assert last.startswith("Note: #C C picks up the red mug\n")
    for line in describe(facts):
        assert f"- {line}" in last
    assert "C uses the right hand" in describe(facts)
    assert "{" not in last


def test_the_prompt_s_own_example_passes_the_check_of_its_words(tmp_path):
    example = read_prompt("spatial_caption").split("\n===\n")[1].split("\n---\n")[0]
    assert example.startswith("#C C picks up the red mug with the right hand")


def test_a_prompt_is_a_packaged_one_or_a_file(tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("Be brief.\n---\n{note} | {facts}\n", encoding="utf-8")
    messages = conversation(read_prompt(str(own)), read_facts(clip_of()))
    assert [message["role"] for message in messages] == ["system", "user"]
    with pytest.raises(AnnotatorOptionError, match="spatial_caption"):
        read_prompt("spatial")
    own.write_text("Be brief.\n---\n{note}\n", encoding="utf-8")
    with pytest.raises(AnnotatorOptionError, match="facts"):
        read_prompt(str(own))


def test_false_versions_of_an_answer_differ_in_hand_direction_or_action_alone():
    texts = false_versions(GOOD, read_facts(clip_of()), 4, seed=0)
    assert GOOD not in texts
    assert GOOD.replace("right hand", "left hand") in texts
    assert GOOD.replace("moving it to the right", "moving it to the left") in texts
    assert all("left of the view" in text and "red mug" in text for text in texts)


# ------------------------------------------------------------------------------------- the endpoint


class Server:
    """An OpenAI-compatible endpoint on this machine, with answers and failures as told."""

    def __init__(self):
        self.requests, self.answers, self.statuses = [], [], []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append((self.path, dict(self.headers), body))
                status = server.statuses.pop(0) if server.statuses else 200
                answer = server.answers[0] if len(server.answers) == 1 else server.answers.pop(0)
                content = {"choices": [{"message": {"content": answer}}]}
                data = json.dumps(content if answer != "broken" else {"choices": []}).encode()
                self.send_response(status)
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("pretrain.annotate.captions.endpoint._FIRST_WAIT_S", 0.0)


def test_a_good_answer_of_an_endpoint_becomes_the_caption(server, monkeypatch):
    monkeypatch.setenv("CAPTION_KEY", "secret")
    server.answers = [GOOD]
    writer = EndpointCaptions(server.url, "some-model", key_variable="CAPTION_KEY")
    (result,) = writer.annotate([clip_of()])
    assert result["caption"] == GOOD
    report = result["caption_report"]
    assert (report["writer"], report["fallback"]) == ("endpoint", None)
    assert {statement["kind"] for statement in report["statements"]} >= {"hand", "motion", "region"}
    ((path, headers, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert body["model"] == "some-model"
    assert body["temperature"] == 0
    assert body["messages"][-1]["role"] == "user"
    assert len(result["distractors"]) > 0


def test_a_refused_answer_falls_back_to_the_template_and_is_reported(server):
    server.answers = ["#C C picks up the red mug from the table with the right hand"]
    writer = EndpointCaptions(server.url, "m")
    (result,) = writer.annotate([clip_of()])
    (template,) = TemplateCaptions().annotate([clip_of()])
    assert result["caption"] == template["caption"]
    assert result["distractors"] == template["distractors"]
    assert result["caption_report"]["writer"] == "template"
    assert result["caption_report"]["fallback"].startswith("not detected")
    assert "from the table" in result["caption_report"]["refused"]


def test_a_busy_server_is_asked_again(server):
    server.answers, server.statuses = [GOOD], [503, 429]
    (result,) = EndpointCaptions(server.url, "m").annotate([clip_of()])
    assert result["caption"] == GOOD
    assert len(server.requests) == 3


@pytest.mark.parametrize(("answers", "statuses"), [([GOOD], [500] * 9), (["broken"], [])])
def test_a_server_that_never_answers_leaves_the_template(server, answers, statuses):
    server.answers, server.statuses = answers, statuses
    (result,) = EndpointCaptions(server.url, "m", retries=2).annotate([clip_of()])
    assert result["caption_report"]["fallback"].startswith("no answer")
    assert "3 tries" in result["caption_report"]["fallback"]
    assert len(server.requests) == 3


def test_a_server_that_is_not_there_leaves_the_template(server):
    gone = server.url
    server.http.shutdown()
    server.http.server_close()
    writer = EndpointCaptions(gone, "m", retries=0, timeout_s=1)
    (result,) = writer.annotate([clip_of()])
    assert result["caption_report"]["fallback"].startswith("no answer")


def test_a_server_that_refuses_is_an_error(server):
    server.answers, server.statuses = [GOOD], [401]
    with pytest.raises(EndpointError, match="401"):
        EndpointCaptions(server.url, "m").annotate([clip_of()])
    assert len(server.requests) == 1


def test_answers_belong_to_their_clips_however_they_come(server):
    server.answers = [GOOD]
    clips = [clip_of(key=str(number)) for number in range(12)]
    clips[5] = clip_of("#C C opens the fridge", key="5", seen=False)
    clips[7] = clip_of("#C C red mug", key="7")
    results = EndpointCaptions(server.url, "m", parallel=4).annotate(clips)
    accepted = [result["caption"] == GOOD for result in results]
    assert accepted == [number not in (5, 7) for number in range(12)]
    # A model is not asked where nothing is known, or the narration is no sentence.
    assert len(server.requests) == 10
    assert results[5]["caption_report"]["fallback"].startswith("nothing known")
    assert results[7]["caption_report"]["fallback"].startswith("unusable narration")


def test_fields_of_the_request_can_be_added_and_left_out(server):
    server.answers = [GOOD]
    body = {"max_tokens": None, "max_completion_tokens": 50}
    EndpointCaptions(server.url, "m", body=body).annotate([clip_of()])
    sent = server.requests[0][2]
    assert "max_tokens" not in sent
    assert sent["max_completion_tokens"] == 50


def test_an_endpoint_s_options_are_checked_before_anything_is_asked(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(AnnotatorOptionError, match="NO_SUCH_KEY"):
        EndpointCaptions("http://localhost/v1", "m", key_variable="NO_SUCH_KEY")
    with pytest.raises(AnnotatorOptionError, match="http"):
        EndpointCaptions("localhost:8000", "m")
    with pytest.raises(AnnotatorOptionError, match="retries"):
        EndpointCaptions("http://localhost/v1", "m", retries=-1)
    one = EndpointCaptions("http://localhost/v1", "m")
    assert one.fingerprint == EndpointCaptions("http://localhost/v1", "m", parallel=2).fingerprint
    assert one.fingerprint != EndpointCaptions("http://localhost/v1", "n").fingerprint


# ---------------------------------------------------------------------------------- the local model


@pytest.fixture(scope="module")
def tiny_chat(tmp_path_factory):
    """A chat model of random weights on disk."""
    folder = tmp_path_factory.mktemp("chat")
    words = ["[UNK]", "<s>", "</s>", "Note", "Facts", "#", "C", "picks", "up", "the", "mug"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", bos_token="<s>", eos_token="</s>"
    )
    fast.chat_template = (
        "{% for m in messages %}<s> {{ m['content'] }} </s>{% endfor %}"
        "{% if add_generation_prompt %}<s>{% endif %}"
    )
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, bos_token_id=1, eos_token_id=2,
        max_position_embeddings=1024,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_local_chat_model_is_asked_and_its_babble_refused(tiny_chat):
    writer = TransformersCaptions(str(tiny_chat), max_new_tokens=8, device="cpu")
    clips = [clip_of(), clip_of(key="2")]
    results = writer.annotate(clips)
    (template,) = TemplateCaptions().annotate(clips[:1])
    assert results[0]["caption"] == template["caption"]
    report = results[0]["caption_report"]
    assert report["writer"] == "template"
    assert report["fallback"] is not None
    assert results == writer.annotate(clips)


def test_a_local_chat_model_s_good_answer_becomes_the_caption(tiny_chat, monkeypatch):
    writer = TransformersCaptions(str(tiny_chat), device="cpu")
    monkeypatch.setattr(writer, "_answer", lambda messages: f'"{GOOD}."')
    (result,) = writer.annotate([clip_of()])
    assert result["caption"] == GOOD
    assert result["caption_report"]["writer"] == "language_model"


def test_a_language_model_s_fingerprint_needs_no_weights_and_knows_the_prompt(tiny_chat, tmp_path):
    writer = TransformersCaptions(str(tiny_chat))
    assert writer._model is None
    assert writer.fingerprint == TransformersCaptions(str(tiny_chat), batch_size=1).fingerprint
    own = tmp_path / "own.txt"
    own.write_text("Be brief.\n---\n{note} | {facts}\n", encoding="utf-8")
    other = TransformersCaptions(str(tiny_chat), prompt=str(own))
    assert writer.fingerprint != other.fingerprint


def test_a_model_that_is_not_there_or_cannot_chat_is_named(tiny_chat, tmp_path):
    with pytest.raises(WeightsError, match="Expected"):
        TransformersCaptions(str(tmp_path / "none"), device="cpu")
    for file in tiny_chat.iterdir():
        if file.name != "chat_template.jinja":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="chat template"):
        TransformersCaptions(str(tmp_path), device="cpu")


def test_hand_sides_of_the_fixture_are_what_the_tests_take_them_for():
    boxes = clip_of().boxes
    assert set(boxes.side[boxes.track == 0]) == {RIGHT}
    assert LEFT not in boxes.side
