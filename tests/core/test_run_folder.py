"""A run's folder: whose it is, and what came of the run."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from egodtm_robot.core.errors import ResumeMismatchError
from egodtm_robot.core.run_folder import (
    CONFIG_FILE,
    RESULTS_FILE,
    StageClock,
    claim_run_dir,
    read_results,
    write_results,
)
from egodtm_robot.core.training.identity import NOT_DECISIVE


@dataclass
class Training:
    rate: float = 1e-5
    workers: int = field(default=2, metadata=NOT_DECISIVE)


@dataclass
class Renamed:
    options: dict[str, Any] = field(default_factory=lambda: {"kind": "mlp"})

    def __post_init__(self) -> None:
        if "type" in self.options:
            self.options["kind"] = self.options.pop("type")


@dataclass
class Config:
    training: Training = field(default_factory=Training)
    cameras: list[Any] = field(default_factory=lambda: ["wrist"])
    title: str = "a long title: with a colon, and more words than one line of YAML would ever hold"
    workers: int = 3
    run_dir: str | None = field(default=None, metadata=NOT_DECISIVE)


def test_a_folder_is_claimed_once_and_again_by_the_same_settings(tmp_path: Path):
    run = tmp_path / "runs" / "one"
    claim_run_dir(run, Config())
    text = (run / CONFIG_FILE).read_text()
    claim_run_dir(run, Config(training=Training(workers=7), run_dir="elsewhere"))
    assert (run / CONFIG_FILE).read_text() == text


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"training": Training(rate=3e-5)}, r"training\.rate: 1e-05 -> 3e-05\. "),
        ({"workers": 4}, r"\): workers: 3 -> 4\. "),
        ({"cameras": ["left", "right"]}, r'cameras: \["wrist"\] -> \["left", "right"\]\. '),
        ({"title": "short"}, r"title: a long title.*\.\.\. -> short\. "),
    ],
)
def test_other_settings_are_refused_by_their_paths(tmp_path: Path, changed: Any, named: str):
    claim_run_dir(tmp_path, Config())
    with pytest.raises(ResumeMismatchError, match=named):
        claim_run_dir(tmp_path, replace(Config(), **changed))


def test_what_the_settings_read_in_an_earlier_spelling_is_accepted(tmp_path: Path):
    (tmp_path / CONFIG_FILE).write_text("options:\n  type: mlp\n")
    claim_run_dir(tmp_path, Renamed())
    with pytest.raises(ResumeMismatchError, match=r"options\.kind: mlp -> knn"):
        claim_run_dir(tmp_path, Renamed({"kind": "knn"}))


def test_settings_that_are_gone_are_named(tmp_path: Path):
    claim_run_dir(tmp_path, Config())
    file = tmp_path / CONFIG_FILE
    file.write_text(file.read_text() + "momentum: 0.9\n")
    with pytest.raises(ResumeMismatchError, match=r"\): momentum: 0\.9 -> absent\. "):
        claim_run_dir(tmp_path, Config())


def test_settings_that_cannot_be_read_are_refused(tmp_path: Path):
    for content in (b"a: [1", b"just words", b"\xff\xfe\x00"):
        (tmp_path / CONFIG_FILE).write_bytes(content)
        with pytest.raises(ResumeMismatchError, match="could not read them"):
            claim_run_dir(tmp_path, Config())


def test_results_come_back_with_none_for_what_json_cannot_hold(tmp_path: Path):
    assert read_results(tmp_path) is None
    write_results(tmp_path, {"score": math.nan, "curve": [{"loss": math.inf}, (1, 2.5)]})
    assert read_results(tmp_path) == {"score": None, "curve": [{"loss": None}, [1, 2.5]]}
    assert json.loads((tmp_path / RESULTS_FILE).read_text())["score"] is None


def test_a_stage_takes_the_time_of_all_its_parts(tmp_path: Path):
    with pytest.raises(KeyError), StageClock(tmp_path)("train"):
        raise KeyError
    clock = StageClock(tmp_path)
    before = clock.seconds["train"]
    with clock("train"):
        pass
    assert clock.seconds["train"] >= before
