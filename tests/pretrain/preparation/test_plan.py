import json
from pathlib import Path

import pytest

from egodtm_robot.core.errors import ConfigurationError, CorruptStoreError, ForeignStoreError
from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.registry import source_config
from pretrain.preparation.plan import FOLDER, make_plan, read_requests


class Listed:
    """A source of what it is given."""

    name = "listed"

    def __init__(self, *rows):
        self.rows = rows

    def read(self):
        yield from self.rows


def request(key, video, start=0.0, narration="#C C looks"):
    return ClipRequest(key, Path(video), start, start + 1, narration, "s", "listed", "CC0-1.0")


def plan(out, *rows, shard_clips=2, limit=None):
    return make_plan(Listed(*rows), {"_target_": "Listed"}, out, shard_clips, limit)


def keys(out, shard):
    return [one.key for one in read_requests(out / FOLDER, shard)]


def test_clips_of_a_video_lie_together_in_time(tmp_path):
    rows = [request("a", "x", 5), request("b", "y"), request("c", "x", 1), request("d", "y", 3)]
    made = plan(tmp_path, *rows)
    assert [shard.clips for shard in made.shards] == [2, 2]
    assert keys(tmp_path, 0) == ["c", "a"]
    assert keys(tmp_path, 1) == ["b", "d"]
    assert read_requests(tmp_path / FOLDER, 0)[1] == rows[0]


def test_a_key_that_comes_twice_is_a_failure(tmp_path):
    given = Failure("csv:3", "source", "Expected a time.")
    made = plan(tmp_path, request("a", "x"), given, request("a", "x", 2))
    assert made.clips == 1
    assert [one.key for one in made.failures] == ["csv:3", "a"]
    rows = (tmp_path / FOLDER / "source_failures.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["reason"] == "Expected a time."


def test_only_shards_that_changed_get_another_fingerprint(tmp_path):
    rows = [request(str(index), "x", index) for index in range(4)]
    before = plan(tmp_path, *rows).shards
    assert plan(tmp_path, *rows, request("new", "z")).shards[:2] == before
    renamed = [*rows[:3], request("3", "x", 3, narration="#C C runs")]
    after = plan(tmp_path, *renamed).shards
    assert after[0] == before[0]
    assert after[1].spans == before[1].spans
    assert after[1].narrations != before[1].narrations


def test_a_video_that_was_replaced_is_noticed(tmp_path):
    video = tmp_path / "x.mp4"
    missing = plan(tmp_path / "out", request("a", video)).shards[0]
    video.write_bytes(b"one")
    there = plan(tmp_path / "out", request("a", video)).shards[0]
    video.write_bytes(b"other")
    other = plan(tmp_path / "out", request("a", video)).shards[0]
    assert len({missing.spans, there.spans, other.spans}) == 3


def test_too_few_and_too_many_clips_are_named(tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="csv:2: Expected a time"):
        plan(tmp_path, Failure("csv:2", "source", "Expected a time."))
    monkeypatch.setattr("pretrain.preparation.plan.LARGEST_SHARD_COUNT", 2)
    rows = [request(str(index), "x", index) for index in range(5)]
    with pytest.raises(ConfigurationError, match="shard_clips to at least 3"):
        plan(tmp_path, *rows)
    assert plan(tmp_path, *rows, limit=4).clips == 4


def test_requests_that_cannot_be_read_are_named(tmp_path):
    plan(tmp_path, request("a", "x"))
    (tmp_path / FOLDER / "requests/shard_0000.jsonl").write_text("{")
    with pytest.raises(CorruptStoreError, match="requests of shard 0"):
        read_requests(tmp_path / FOLDER, 0)


def prepared(out, source):
    """A plan of that source, and a first result of it, which binds the folder."""
    make_plan(Listed(request("a", "x")), source, out, 2)
    (out / FOLDER / "decode").mkdir()
    (out / FOLDER / "decode/shard_0000.npz").touch()


def test_a_plan_names_its_source_by_kind_and_one_by_import_path_is_still_read(tmp_path):
    config = source_config("folder")
    prepared(tmp_path, config)
    file = tmp_path / FOLDER / "plan.json"
    content = json.loads(file.read_text())
    assert content["source"]["_kind_"] == "folder"
    assert "_target_" not in content["source"]
    # As the first versions wrote it.
    old = {**config, "_target_": "pretrain.clips.sources.folder.FolderSource"}
    file.write_text(json.dumps({**content, "source": old}))
    make_plan(Listed(request("a", "x")), config, tmp_path, 2)
    assert json.loads(file.read_text()) == content
    with pytest.raises(ForeignStoreError, match="Choose another folder"):
        make_plan(Listed(request("a", "x")), source_config("fphab"), tmp_path, 2)


def test_a_users_source_is_known_by_its_import_path(tmp_path):
    prepared(tmp_path, {"_target_": "my.Source"})
    make_plan(Listed(request("a", "x")), {"_target_": "my.Source", "more": 1}, tmp_path, 2)
    with pytest.raises(ForeignStoreError, match=r"my\.Other"):
        make_plan(Listed(request("a", "x")), {"_target_": "my.Other"}, tmp_path, 2)
