from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from egodtm_robot.core.configuration import Bounds, OutputFile, OutputFolder, from_mapping, to_yaml
from egodtm_robot.core.configuration.schema import check_value, from_yaml, schema_of
from egodtm_robot.core.errors import ConfigurationError, OutputPathError, UnknownNameError

Look = Literal["fixed", "varied"]


@dataclass
class Part:
    look: Look = "fixed"
    cells: Literal[2, 4] = 4
    share: Annotated[float, Bounds(0, 1)] = 0.5


@dataclass
class Whole:
    part: Part = field(default_factory=lambda: Part(share=0.25))
    parts: dict[str, Part] = field(default_factory=dict)
    looks: list[Look] | None = None
    episodes: Annotated[int, Bounds(1)] | None = None
    out: OutputFolder | None = None
    page: OutputFile | None = None

    def __post_init__(self) -> None:
        if self.episodes == 13:
            raise ConfigurationError("Expected another number.")


def test_defaults_of_nested_dataclasses_are_kept():
    assert from_mapping(Whole, {}) == Whole()
    assert from_mapping(Whole, {}).part.share == 0.25


def test_nested_values_become_the_real_dataclasses():
    config = from_mapping(
        Whole,
        {"part": {"look": "varied", "cells": 2}, "parts": {"a": {"share": 1}}, "looks": ["fixed"]},
    )
    assert config.part == Part("varied", 2, 0.25)
    assert config.parts == {"a": Part(share=1.0)}
    assert config.looks == ["fixed"]
    assert from_yaml(Whole, to_yaml(config)) == config


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (
            {"part": {"look": "varid"}},
            UnknownNameError,
            r"part\.look 'varid'.*mean 'varied'",
        ),
        ({"part": {"cells": 3}}, UnknownNameError, r"part\.cells 3; expected one of: 2, 4"),
        ({"parts": {"a": {"look": "x"}}}, UnknownNameError, r"parts\.a\.look"),
        ({"looks": ["fixed", "x"]}, UnknownNameError, "looks 'x'"),
        ({"part": {"share": 1.5}}, ConfigurationError, r"part\.share from 0 to 1, got 1\.5"),
        (
            {"part": {"share": float("nan")}},
            ConfigurationError,
            r"part\.share from 0 .*got nan",
        ),
        ({"episodes": 0}, ConfigurationError, "episodes at least 1, got 0"),
        ({"episodes": "many"}, ConfigurationError, "episodes: .*many"),
        ({"episodes": 13}, ConfigurationError, "another number"),
        ({"nothing": 1}, ConfigurationError, "nothing"),
        ({"part": {"look": "${part.share}x${part.look}"}}, ConfigurationError, "part"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_whole_key(values, error, message):
    with pytest.raises(error, match=message):
        from_mapping(Whole, values)


def test_the_key_that_values_stand_under_is_in_the_message():
    with pytest.raises(UnknownNameError, match=r"policy\.part\.look"):
        from_mapping(Whole, {"part": {"look": "x"}}, "policy")
    with pytest.raises(ConfigurationError, match=r"policy\.episodes"):
        from_mapping(Whole, {"episodes": 0}, "policy")


def test_a_dataclass_has_one_schema_of_its_name():
    assert schema_of(Whole) is schema_of(Whole)
    assert schema_of(Whole).__name__ == "Whole"


@pytest.mark.parametrize("kind", ["out", "page"])
@pytest.mark.parametrize("path", ["file/below", "n" * 256, "/".join(["deep"] * 300)])
def test_a_place_at_which_nothing_can_be_made_is_refused(tmp_path, kind, path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputPathError, match=kind):
        from_mapping(Whole, {kind: str(tmp_path / path)})
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_no_place_for_a_file_nor_a_file_for_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputPathError, match="is a file"):
        from_mapping(Whole, {"out": str(tmp_path / "file")})
    with pytest.raises(OutputPathError, match="is a folder"):
        from_mapping(Whole, {"page": str(tmp_path)})


def test_what_is_there_already_and_what_can_be_made_are_accepted(tmp_path):
    (tmp_path / "page.html").touch()
    config = from_mapping(
        Whole, {"out": str(tmp_path / "a" / "b"), "page": str(tmp_path / "page.html")}
    )
    assert config.out == str(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, [3, -1], ["abc", "3", 1.5, True, None, [1]]),
        (float, [3, 0.5], ["abc", True, None]),
        (str, ["", "3"], [3, True, None, ["a"]]),
        (bool, [True], [1, "yes"]),
        (str | Path, ["a", Path("a")], [3, None]),
        (int | None, [3, None], ["a", [3]]),
        (int | Sequence[int] | None, [3, [1, 2], (1, 2), None], ["a", ["a"], {"a": 1}]),
        (tuple[int, int], [[1, 2], (1, 2)], [[1], [1, 2, 3], 1]),
        (tuple[str, ...], [[], ("a", "b")], [[1], "ab"]),
        (Mapping[str, Any], [{"a": 1}], ["a", [1]]),
        (bytes | Whole, ["anything", 3, Whole()], []),
        (Annotated[int, Bounds(1)] | None, [1, None], [0, "1"]),
        (Look | None, ["fixed", None], ["x", 3]),
    ],
)
def test_an_option_is_checked_against_the_hint_of_its_argument(hint, good, bad):
    for value in good:
        check_value("key", hint, value)
    for value in bad:
        with pytest.raises((ConfigurationError, UnknownNameError), match="key"):
            check_value("key", hint, value)
