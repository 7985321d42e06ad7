import json
import math
from pathlib import Path

import pytest

from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.egtea import read_actions
from pretrain.clips.sources.h2o import ACTIONS
from pretrain.clips.sources.registry import make_source, source_config, source_names
from pretrain.clips.sources.tables import AnnotationFileError

EGOCLIP = (
    "\tvideo_uid\tvideo_dur\tnarration_source\tnarration_ind\tnarration_time\tclip_start\tclip_end"
    "\tclip_text\ttag_verb\ttag_noun\n"
    "0\tuid-a\t128.03\tnarration_pass_1\t0\t3.3445\t2.967651\t3.721266"
    '\t"#C C says ""hi"", picks a bag"\t[93]\t[192, 115, 12]\n'
    "1\tuid-a\t128.03\tnarration_pass_2\t0\t5.1\t4.9\t4.9\t#C C looks around\t[]\t[]\n"
    "2\tuid-b\t60.0\tnarration_pass_1\t7\t9.1\t8.5\t9.9\t#O A man walks\t[4]\t[]\n"
    "3\tuid-b\t60.0\tnarration_pass_1\t8\tsoon\t9.5\t10.9\t#C C waits\t[4]\t[]\n"
)


def read(name: str, **options: object) -> tuple[list[ClipRequest], list[Failure]]:
    rows = list(make_source({**source_config(name), **options}).read())
    requests = [row for row in rows if isinstance(row, ClipRequest)]
    assert len({request.key for request in requests}) == len(requests)
    return requests, [row for row in rows if isinstance(row, Failure)]


def test_egoclip_is_read_as_published(tmp_path):
    (tmp_path / "egoclip.csv").write_text(EGOCLIP)
    requests, failures = read("egoclip", annotations=tmp_path / "egoclip.csv", videos="ego4d")
    assert len(requests) == 2
    first = requests[0]
    assert first.key == "uid-a/narration_pass_1/0"
    assert first.video == Path("ego4d/uid-a.mp4")
    assert (first.start_s, first.end_s) == (2.967651, 3.721266)
    assert first.narration == '#C C says "hi", picks a bag'
    assert first.scene == "uid-a"
    assert first.extra["tag_verb"] == [93]
    assert first.extra["tag_noun"] == [192, 115, 12]
    assert [f.key for f in failures] == ["uid-a/narration_pass_2/0", "egoclip.csv:5"]
    assert "egoclip.csv:3: Expected a clip of some length" in failures[0].reason
    assert "a number in column narration_time, got 'soon'" in failures[1].reason
    tagged, _ = read("egoclip", annotations=tmp_path / "egoclip.csv", videos="x", tagged_only=True)
    assert [request.key for request in tagged] == ["uid-a/narration_pass_1/0"]


def test_natural_language_queries_are_read_as_published(sample):
    path = sample("data/ego/ann/ego4d/nlq_val.json")
    requests, failures = read("ego4d_nlq", annotations=path, videos="v")
    assert len(requests) + len(failures) == 3875
    assert len(requests) == 3533
    # Many answers have no length, and one query has no text.
    assert sum("some length" in failure.reason for failure in failures) == 341
    first = requests[0]
    assert first.narration == "what did I put in the black dustbin?"
    assert (first.start_s, first.end_s) == (1055.0, 1061.0)
    cut, _ = read("ego4d_nlq", annotations=path, videos="v", video="{clip_uid}.mp4")
    assert (cut[0].start_s, cut[0].end_s) == (425.0, 431.0)
    assert cut[0].video == Path("v/93231c7e-1cf4-4a20-b1f8-9cc9428915b2.mp4")


def test_epic_kitchens_actions_are_read_as_published(sample):
    folder = sample("data/ego/ann/epic")
    requests, failures = read(
        "epic_kitchens",
        annotations=folder / "UDA_annotations/EPIC_100_uda_source_train.csv",
        videos="epic",
        video_info=folder / "EPIC_100_video_info.csv",
    )
    assert len(requests) == 16_115
    assert not failures
    first = requests[0]
    assert first.key == "P01_01_0"
    assert first.video == Path("epic/P01/videos/P01_01.MP4")
    assert (first.start_s, first.end_s) == (0.14, 3.37)
    assert (first.narration, first.scene) == ("open door", "P01")
    assert first.extra["all_nouns"] == ["door"]
    assert first.extra["verb_class"] == 3
    assert first.extra["fps"] == pytest.approx(59.94, abs=0.01)
    later = next(r for r in requests if r.key == "P01_01_100")
    assert later.start_s == pytest.approx(7 * 60 + 59.75)


def test_the_retrieval_test_names_the_sentence_of_each_clip(sample):
    folder = sample("data/ego/ann/epic/retrieval_annotations")
    table = folder / "EPIC_100_retrieval_test.csv"
    sentences = folder / "EPIC_100_retrieval_test_sentence.csv"
    requests, failures = read(
        "epic_retrieval", annotations=table, sentences=sentences, videos="epic"
    )
    assert (len(requests), len(failures)) == (9668, 0)
    texts = [line.split(",", 1)[1].strip().strip('"') for line in sentences.open()][1:]
    assert len(texts) == 3842
    for request in requests[::97]:
        assert texts[request.extra["sentence"]] == request.narration


def test_sentences_of_another_set_are_refused(sample, tmp_path):
    folder = sample("data/ego/ann/epic/retrieval_annotations")
    (tmp_path / "s.csv").write_text("narration_id,narration\nP01_11_0,take plate\n")
    table = folder / "EPIC_100_retrieval_test.csv"
    with pytest.raises(AnnotationFileError, match="'put down plate'"):
        read("epic_retrieval", annotations=table, sentences=tmp_path / "s.csv", videos="v")


def test_egtea_lists_of_rulstm_count_thirty_frames_a_second(sample):
    folder = sample("data/ego/ann/rulstm/egtea")
    for name, count in (("training1", 8299), ("validation1", 2022)):
        requests, failures = read(
            "egtea", annotations=folder / f"{name}.csv", actions=folder / "actions.csv", videos="v"
        )
        assert (len(requests), len(failures)) == (count, 0)
        if name == "training1":
            # The published clip OP01-R01-PastaSalad-66680-68130-F001597-F001639.
            known = next(r for r in requests if r.key == "OP01-R01-PastaSalad/9293")
            assert known.start_s == pytest.approx(66.68, abs=0.02)
            assert known.end_s == pytest.approx(68.13, abs=0.04)
            assert known.scene == "OP01"
    assert requests[0].narration == "cut tomato"


def test_egtea_lists_as_published_name_clips_and_milliseconds(tmp_path):
    (tmp_path / "actions.txt").write_text("Inspect/Read recipe 1\nTake eating_utensil 2\n")
    (tmp_path / "train_split1.txt").write_text(
        "OP01-R01-PastaSalad-1002316-1004005-F024051-F024101 2 2 13 14 \n"
        "OP01-R01-PastaSalad 1 1 1\n"
        "P02-R02-Pizza-5-900-F000001-F000022 9 2 13\n"
    )
    options = {"annotations": tmp_path / "train_split1.txt", "actions": tmp_path / "actions.txt"}
    assert read_actions(tmp_path / "actions.txt") == {
        0: "inspect/read recipe",
        1: "take eating utensil",
    }
    (whole,), failures = read("egtea", **options, videos="v")
    assert whole.video == Path("v/OP01-R01-PastaSalad.mp4")
    assert (whole.start_s, whole.end_s) == (1002.316, 1004.005)
    assert whole.narration == "take eating utensil"
    assert len(failures) == 2
    assert "F024051" in failures[0].reason
    assert "action of 0 to 1" in failures[1].reason
    (cut,), _ = read("egtea", **options, videos="v", video="{video}/{clip}.mp4")
    assert cut.video.parent == Path("v/OP01-R01-PastaSalad")
    assert (cut.start_s, cut.end_s) == (0.0, math.inf)


@pytest.mark.parametrize(("split", "count"), [("train", 569), ("val", 122), ("test", 242)])
def test_h2o_lists_are_read_as_published(sample, split, count):
    path = sample(f"data/ego/ann/h2o/action_labels/action_{split}.txt")
    requests, failures = read("h2o", annotations=path, videos="h2o")
    assert (len(requests), len(failures)) == (count, 0)
    assert all(request.end_s > request.start_s for request in requests)
    if split == "train":
        first = requests[1]
        assert first.key == "subject1/h1/0/2"
        assert first.video == Path("h2o/subject1/h1/0/cam4/rgb")
        assert (first.start_s, first.end_s) == pytest.approx((64 / 30, 128 / 30))
        assert first.narration == "grab cappuccino"
        assert first.extra["depth"] == {"folder": "h2o/subject1/h1/0/cam4/depth"}
        assert first.scene == "subject1/h1"
    if split == "test":
        assert {request.narration for request in requests} == {"unlabelled"}


def test_h2o_has_the_published_thirty_six_actions():
    assert len(ACTIONS) == 37
    known = {1: "grab book", 9: "place book", 23: "pour milk", 27: "take out cappuccino"}
    known |= {30: "put in cappuccino", 34: "read espresso", 35: "spray spray", 36: "squeeze lotion"}
    assert all(ACTIONS[label] == name for label, name in known.items())


def test_something_something_is_read_as_published(tmp_path):
    path = tmp_path / "train.json"
    entry = {
        "id": "78687", "label": "holding potato next to bottle",
        "template": "Holding [something] next to [something]", "placeholders": ["potato", "bottle"],
    }  # fmt: skip
    path.write_text(json.dumps([entry, {"id": "5"}, ["no object"]]))
    (request,), failures = read("something_something", annotations=path, videos="ssv2")
    assert request.video == Path("ssv2/78687.webm")
    assert (request.start_s, request.end_s) == (0.0, math.inf)
    assert request.narration == entry["label"]
    assert request.extra["perspective"] == "third person"
    assert [failure.key for failure in failures] == ["5", "train.json[2]"]
    path.write_text("[]")
    with pytest.raises(AnnotationFileError, match="an empty one"):
        read("something_something", annotations=path, videos="ssv2")


def test_fphab_sequences_are_named_by_their_folders(tmp_path):
    for place in ("Subject_1/put_salt/1", "Subject_2/open_juice_bottle/3"):
        for kind in ("color", "depth"):
            (tmp_path / place / kind).mkdir(parents=True)
    requests, _ = read("fphab", videos=tmp_path)
    assert [request.narration for request in requests] == ["put salt", "open juice bottle"]
    assert requests[1].scene == "Subject_2"
    assert requests[0].extra["depth"]["calibration"] == "fphab"
    with pytest.raises(AnnotationFileError, match="Subject_1/put_salt"):
        read("fphab", videos=tmp_path / "Subject_1")


def test_every_source_has_a_file_that_says_what_it_needs():
    for name in source_names():
        config = source_config(name)
        needed = {key: "x" for key, value in config.items() if value == "???"}
        assert needed
        assert make_source({**config, **needed}).name
