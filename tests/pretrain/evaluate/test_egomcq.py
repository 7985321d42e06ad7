"""Which of five clips is narrated: published questions, and those made of clips."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.egomcq import EgoMcqSource
from pretrain.clips.sources.tables import AnnotationFileError
from pretrain.clips.store import ClipStore, ClipStoreWriter
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.egomcq import EgoMcq
from pretrain.evaluate.task import EvaluationDataError, TooFewError

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_clip
from fake_models import Lettering


def choice(video: str, start: float) -> dict:
    text = f"#C C works on {video} at {start}"
    return {"video_uid": video, "clip_start": start, "clip_end": start + 1.5, "clip_text": text}


def question(choices: list[dict], answer: int, types: int = 1) -> dict:
    return {
        "answer": answer,
        "types": types,
        "query": choices[answer],
        "choices": {str(number): one for number, one in enumerate(choices)},
    }


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    within = [choice("a", float(start)) for start in range(5)]
    across = [choice(video, 0.0) for video in "abcde"]
    content = {"0": question(within, 3, 1), "1": question(across, 1, 2)}
    path = tmp_path / "egomcq.json"
    path.write_text(json.dumps(content))
    return path


def open_clips(path: Path, clips) -> EvaluationClips:
    with ClipStoreWriter.create(path) as writer:
        writer.append(clips)
    return EvaluationClips(ClipStore.open(path), resolution=32)


def record(kind: str, similarity: list[float], answer: int, video: str) -> dict:
    return {
        "item": int(video),
        "clip": "clip",
        "video": video,
        "kind": kind,
        "answer": answer,
        "similarity": np.array(similarity),
        "left_out": 0,
    }


def test_the_source_names_every_clip_once(questions):
    requests = list(EgoMcqSource(str(questions), "ego4d", "{video_uid}/v.mp4").read())
    assert len(requests) == 9  # the first clip of a is asked about twice
    assert all(isinstance(request, ClipRequest) for request in requests)
    first = requests[0]
    assert (first.key, first.video) == ("a/0.0-1.5", Path("ego4d/a/v.mp4"))
    assert (first.start_s, first.end_s, first.scene) == (0.0, 1.5, "a")
    assert first.narration == "#C C works on a at 0.0"


def test_accuracies_are_those_of_each_kind_and_ties_are_wrong():
    records = [
        record("inter", [0.9, 0.1, 0.2], 0, "0"),
        record("inter", [0.9, 0.1, 0.2], 1, "1"),
        record("inter", [0.1, 0.1, 0.2], 2, "2"),
        record("intra", [0.5, 0.5, 0.2], 1, "3"),  # as near as another
    ]
    found = EgoMcq().score(records)
    plain = found.plain()
    assert plain["inter"] == pytest.approx(2 / 3)
    assert plain["intra"] == 0
    assert plain["accuracy"] == found.headline.value == pytest.approx(1 / 3)
    assert (plain["inter_questions"], plain["intra_questions"]) == (3, 1)
    assert plain["chance"] == pytest.approx(1 / 3)
    assert [row["chosen"] for row in found.outcomes] == [0, 0, 2, 0]
    records[1]["similarity"][0] = np.nan
    with pytest.raises(EvaluationDataError, match="similarity of clip"):
        EgoMcq().score(records)


def test_published_questions_find_their_clips(questions, tmp_path):
    requests = [r for r in EgoMcqSource(str(questions), "v").read() if isinstance(r, ClipRequest)]
    clips = [
        dataclasses.replace(make_clip(seed), key=request.key, extra={"video": request.scene})
        for seed, request in enumerate(reversed(requests))
    ]
    data = open_clips(tmp_path / "store", clips)
    task, model = EgoMcq(questions=str(questions)), Lettering()
    assert task.size(data) == 2
    within, across = task.measure(model, data, range(2))
    assert (within["kind"], across["kind"]) == ("intra", "inter")
    assert (within["video"], across["video"]) == ("a", "b")
    keys = data.read(range(len(data)), ["key"])["key"]
    wanted = [keys.index(f"{video}/0.0-1.5") for video in "abcde"]
    text = model.encode_text(["#C C works on b at 0.0"]).double().numpy()[0]
    np.testing.assert_allclose(
        across["similarity"], data.embed_videos(model, wanted).astype(float) @ text
    )
    # Without the clips of video e one question is left, and without those of a none.
    fewer = open_clips(tmp_path / "fewer", [clip for clip in clips if clip.key[0] != "e"])
    task = EgoMcq(questions=str(questions))
    assert task.score(task.measure(model, fewer, range(task.size(fewer)))).facts["left_out"] == 1
    none = open_clips(tmp_path / "none", [clip for clip in clips if clip.key[0] == "b"])
    with pytest.raises(EvaluationDataError, match=r"got none; a/0\.0-1\.5 is missing"):
        EgoMcq(questions=str(questions)).size(none)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 7}, "answer among at least two choices in question 0 .* got 7 of 5"),
        ({"choices": {"0": {}}}, "video_uid, clip_start, .* of question 0"),
        ({"query": {}}, "Expected question 0 of .* with query.clip_text"),
    ],
)
def test_a_question_of_another_form_is_named(questions, change, message):
    content = json.loads(questions.read_text())
    content["0"] |= change
    questions.write_text(json.dumps(content))
    with pytest.raises(AnnotationFileError, match=message):
        EgoMcq(questions=str(questions)).size(None)


def test_a_clip_without_length_or_times_is_a_failure(questions):
    content = json.loads(questions.read_text())
    content["0"]["choices"]["2"]["clip_end"] = 2.0
    content["0"]["choices"]["4"]["clip_start"] = "soon"
    questions.write_text(json.dumps(content))
    failures = [r for r in EgoMcqSource(str(questions), "v").read() if isinstance(r, Failure)]
    assert [failure.key for failure in failures] == ["a/2.0-2.0", "a/soon-5.5"]
    questions.write_text("[]")
    with pytest.raises(AnnotationFileError, match="got list of 0"):
        list(EgoMcqSource(str(questions), "v").read())


def test_questions_made_of_clips_have_one_true_answer(tmp_path):
    clips = []
    for seed in range(24):
        clip = make_clip(seed)
        color, way = clip.caption.split()[4], clip.caption.split()[-1]
        clips.append(dataclasses.replace(clip, extra={"action": way, "subject": color}))
    data, model = open_clips(tmp_path / "store", clips), Lettering()
    task = EgoMcq()
    assert task.lacks(model, data) is None
    count = task.size(data)
    assert count == 48
    captions = [clip.caption for clip in clips]
    again = EgoMcq()._asked(data)
    for number, asked in enumerate(task._asked(data)):
        assert len(set(asked.choices)) == 5
        assert [captions[one] == asked.text for one in asked.choices] == [
            place == asked.answer for place in range(5)
        ]
        assert asked == again[number]
        if asked.kind == "intra":
            shared = [
                len(set(captions[one].split()) & set(asked.text.split())) for one in asked.choices
            ]
            # The same color or the same way: harder than what is drawn from all clips.
            assert min(shared) >= len(set(asked.text.split())) - 1
    assert {asked.answer for asked in task._asked(data)} == set(range(5))
    # Without actions and with videos of single clips there is nothing to ask within a video.
    plain = open_clips(tmp_path / "plain", [make_clip(seed) for seed in range(6)])
    assert {asked.kind for asked in EgoMcq()._asked(plain)} <= {"inter"}
    few = EvaluationClips(plain.store, np.arange(4), resolution=32)
    assert EgoMcq().lacks(model, few) == "5 clips"


def test_clips_of_one_text_ask_nothing(tmp_path):
    clips = [dataclasses.replace(make_clip(seed), caption="#C C rests") for seed in range(6)]
    task = EgoMcq()
    assert task.size(open_clips(tmp_path / "store", clips)) == 0
    with pytest.raises(TooFewError, match="Expected 5 clips of different texts"):
        task.score([])
