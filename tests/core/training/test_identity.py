"""What decides a run, and how two runs differ."""

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from egodtm_robot.core.configuration.instantiation import FORMER_IMPORT_PATHS
from egodtm_robot.core.training.identity import NOT_DECISIVE, decisive, differences, listed


@dataclass
class Part:
    rate: float = 0.1
    sizes: tuple[int, ...] = (1, 2)
    workers: int = field(default=2, metadata=NOT_DECISIVE)


@dataclass
class Settings:
    part: Part = field(default_factory=Part)
    options: dict[str, Any] = field(default_factory=dict)
    cameras: list[Any] = field(default_factory=lambda: ["wrist"])
    limit: int | None = None
    device: str = field(default="cpu", metadata=NOT_DECISIVE)


def stored(settings: Any) -> Any:
    return json.loads(json.dumps(decisive(settings)))


def texts(before: Any, now: Any) -> list[str]:
    return [str(difference) for difference in differences(before, now)]


def test_fields_that_do_not_decide_are_left_out_at_any_depth():
    assert decisive(Settings()) == {
        "part": {"rate": 0.1, "sizes": [1, 2]},
        "options": {},
        "cameras": ["wrist"],
        "limit": None,
    }
    assert decisive({"settings": [Part(workers=9)]}) == decisive({"settings": [Part()]})


def test_what_was_stored_is_the_same_whatever_does_not_decide():
    before = stored(Settings())
    assert differences(before, Settings()) == []
    changed = Settings(part=Part(workers=9), device="cuda")
    assert differences(before, changed) == []
    # A file may name what does not decide, too.
    assert differences({**before, "device": "tpu", "part": {"workers": 0}}, changed) == []


def test_each_difference_is_named_by_its_path():
    before = stored(Settings(options={"size": 3, "old": True}))
    now = Settings(
        part=Part(rate=0.2, sizes=(1, 2, 3)), options={"size": "large", "new": 1.5}, limit=4
    )
    assert texts(before, now) == [
        "part.rate: 0.1 -> 0.2",
        "part.sizes: [1, 2] -> [1, 2, 3]",
        "options.size: 3 -> large",
        "options.old: true -> absent",
        "options.new: absent -> 1.5",
        "limit: null -> 4",
    ]


def test_values_of_several_lines_are_one_difference():
    camera = {"name": "high", "position": [0, -1, 3]}
    before = stored(Settings(cameras=[camera]))
    moved = Settings(cameras=[{**camera, "position": [0, -1, 4]}])
    assert texts(before, moved) == ["cameras.0.position: [0, -1, 3] -> [0, -1, 4]"]
    assert texts(before, Settings(cameras=["left", "right"])) == [
        'cameras: [{"name": "high", "position": [0, -1, 3]}] -> ["left", "right"]'
    ]


def test_a_field_that_is_new_since_then_counts_with_its_default():
    before = stored(Settings())
    del before["limit"], before["part"]["rate"]
    assert differences(before, Settings()) == []
    assert texts(before, Settings(limit=3)) == ["limit: null -> 3"]
    del before["part"]
    assert texts(before, Settings(part=Part(rate=1.0))) == ["part.rate: 0.1 -> 1.0"]


def test_a_field_that_is_gone_since_then_is_a_difference():
    assert texts({**stored(Settings()), "momentum": 0.9}, Settings()) == ["momentum: 0.9 -> absent"]


def test_nan_is_nan():
    assert differences({"rate": math.nan}, {"rate": math.nan}) == []
    assert texts({"rate": math.nan}, {"rate": 1.0}) == ["rate: NaN -> 1.0"]


def test_a_dataclass_where_none_was_is_a_difference():
    assert texts({"part": None}, {"part": replace(Part(), sizes=())}) == [
        'part: null -> {"rate": 0.1, "sizes": []}'
    ]


def test_long_lists_of_differences_and_long_values_are_cut():
    found = differences({}, {str(i): "x" * 100 for i in range(8)})
    assert len(found) == 8
    assert listed(found).endswith("; and 2 more")
    assert listed(found[:1]) == "0: absent -> " + "x" * 57 + "..."


def test_a_class_that_was_moved_is_the_same_class(monkeypatch: pytest.MonkeyPatch):
    before = {"options": {"_target_": "package.former.Encoder"}}
    now = Settings(options={"_target_": "package.today.Encoder"})
    assert differences(before, now)
    monkeypatch.setitem(FORMER_IMPORT_PATHS, "package.former.Encoder", "package.today.Encoder")
    assert differences(before, now) == []
    assert differences(before, Settings(options={"_target_": "package.today.Other"}))
