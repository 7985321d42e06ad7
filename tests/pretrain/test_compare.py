"""Finished evaluations are compared row by row, or refused by name."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from pretrain.checkpoints import save_checkpoint
from pretrain.compare import main
from pretrain.evaluate.__main__ import main as evaluate
from pretrain.model import EgoDTM

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_clips import make_store
from tiny_model import tiny_config

TASKS = "tasks=[retrieval,multiple_choice,depth]"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Evaluations of three models, one under two loaders, one on other clips."""
    folder = tmp_path_factory.mktemp("runs")
    make_store(folder / "store", range(12))
    for seed in (1, 2, 3):
        save_checkpoint(folder / f"{seed}.safetensors", EgoDTM(tiny_config(), seed=seed), {})

    def run(name: str, seed: int, *settings: str) -> None:
        evaluate(
            [
                f"checkpoint={folder / f'{seed}.safetensors'}",
                f"data.path={folder / 'store'}",
                "data.clips=12",
                f"cache={folder / 'embeddings'}",
                f"run_dir={folder / name}",
                "device=cpu",
                "threads=1",
                *(settings or (TASKS,)),
            ]
        )

    run("a", 1)
    run("b", 2)
    run("c", 3, "tasks=[retrieval,depth]")
    run("words", 1, TASKS, "loader.tags=drop", "loader.name=words")
    run("few", 2, TASKS, "data.clips=10")
    run("other", 2, TASKS, "loader.frames=2")
    return folder


def compare(runs: Path, *arguments: str) -> dict:
    out = runs / "out"
    paths = [str(runs / one) if (runs / one).is_dir() else one for one in arguments]
    main([*paths, f"out={out}"])
    return json.loads((out / "compare.json").read_text())


def test_differences_are_those_of_the_scores(runs, capsys):
    found = compare(runs, "a", "b", "numbers=all")
    results = [json.loads((runs / name / "results.json").read_text()) for name in "ab"]
    assert found["compared"] == "models"
    assert {one["task"] for one in found["differences"]} == set(results[0]["tasks"])
    for one in found["differences"]:
        values = [r["tasks"][one["task"]]["numbers"][one["number"]]["value"] for r in results]
        assert one["values"] == pytest.approx(values)
        assert one["difference"] == pytest.approx(values[0] - values[1])
        assert (one["rows"], one["videos"]) == (12, 12)
        if one["low"] is not None:
            assert one["low"] < one["difference"] < one["high"]
        assert one["holm_p"] >= one["p"]
    numbers = sum(len(found["numbers"]) for found in results[0]["tasks"].values())
    assert len(found["differences"]) == numbers
    out = capsys.readouterr().out
    assert f"over the {numbers} tests" in out
    assert "| depth | delta1 | `tiny-" in out  # two of one name are told apart


def test_every_pair_or_those_with_a_reference(runs):
    found = compare(runs, "a", "b", "c")
    names = list(found["evaluations"])
    pairs = {(one["first"], one["second"]) for one in found["differences"]}
    assert pairs == {(names[0], names[1]), (names[0], names[2]), (names[1], names[2])}
    assert found["notes"] == ["multiple_choice is left out: not all evaluations have it."]
    found = compare(runs, "a", "b", "c", f"reference={names[0]}", "tasks=[depth]")
    pairs = [(one["first"], one["second"]) for one in found["differences"]]
    assert pairs == [(names[1], names[0]), (names[2], names[0])]


def test_one_model_under_two_loaders(runs):
    found = compare(runs, "a", "words")
    assert found["compared"] == "loaders"
    assert list(found["evaluations"]) == ["default", "words"]
    by_task = {one["task"]: one for one in found["differences"]}
    # The pictures are the same, so that depth is.
    assert by_task["depth"]["difference"] == 0
    assert (by_task["depth"]["low"], by_task["depth"]["p"]) == (None, 1)
    assert by_task["retrieval"]["difference"] != 0


def refusal(capsys, runs: Path, *arguments: str) -> str:
    with pytest.raises(SystemExit):
        compare(runs, *arguments)
    return capsys.readouterr().err


def rewritten(runs: Path, name: str, change) -> str:
    """A copy of evaluation ``b`` whose results or rows were changed."""
    folder = runs / name
    for file in (
        "results.json",
        *(f"outcomes/{t}.csv" for t in ("retrieval", "multiple_choice", "depth")),
    ):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(change(file, (runs / "b" / file).read_text()))
    return name


def test_what_cannot_be_compared_is_refused_by_name(runs, capsys, tmp_path):
    assert "EvaluationMismatchError: Expected evaluations of the same clips" in refusal(
        capsys, runs, "a", "few"
    )
    error = refusal(capsys, runs, "a", "other")
    assert "EvaluationMismatchError: Expected different models under one loader" in error
    assert "frames (None and 2) differ" in error
    assert "at least two finished evaluations to compare, got 1" in refusal(capsys, runs, "a")
    assert "Expected each evaluation once" in refusal(capsys, runs, "a", "a")
    assert "got nowhere" in refusal(capsys, runs, "a", "nowhere")
    assert "Unknown evaluation" in refusal(capsys, runs, "a", "b", "reference=x").replace(
        "unknown", "Unknown"
    )
    assert "regions" in refusal(capsys, runs, "a", "b", "tasks=[regions]")
    assert "Expected confidence between 0 and 1" in refusal(capsys, runs, "a", "b", "confidence=1")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("outcomes/retrieval.csv", "#C C moves", "#C C hides", "retrieval with the same texts"),
        ("outcomes/depth.csv", "slope 3", "slope x", "depth with the same questions"),
        ("outcomes/depth.csv", "2,5,", "2,99,", "depth with the same questions"),
        ("outcomes/depth.csv", "2,", "1,", "rows of version 2 with item and video"),
        ("results.json", '"unit": "m"', '"unit": "relative"', "depth with the same units"),
        ("results.json", '"options": {}', '"options": {"x": 1}', "with the same options"),
        ("results.json", '"loader"', '"reader"', "name their loader and clips"),
        ("results.json", '"tasks"', '"runs"', "those of another command"),
        ("results.json", "{", "", "something else"),
    ],
)
def test_changed_files_are_refused(runs, capsys, file, old, new, message):
    name = rewritten(
        runs, "changed", lambda own, text: text.replace(old, new) if own == file else text
    )
    assert message in refusal(capsys, runs, "a", name)


def test_other_relevancies_are_refused(runs, capsys):
    def task(path: Path, relevancy: str) -> str:
        (runs / path).mkdir(exist_ok=True)
        results = json.loads((runs / path.name[0] / "results.json").read_text())
        results["tasks"]["retrieval"]["facts"]["relevancy"] = relevancy
        (runs / path / "results.json").write_text(json.dumps(results))
        (runs / path / "outcomes").mkdir(exist_ok=True)
        for name in results["tasks"]:
            rows = (runs / path.name[0] / "outcomes" / f"{name}.csv").read_text()
            (runs / path / "outcomes" / f"{name}.csv").write_text(rows)
        return str(path)

    error = refusal(capsys, runs, task(Path("a_matrix"), "12"), task(Path("b_matrix"), "34"))
    assert "retrieval with the same relevancy matrices, got others" in error


def test_an_evaluation_of_nothing_in_common_is_refused(runs, capsys):
    evaluation = json.loads((runs / "b" / "results.json").read_text())
    evaluation["tasks"] = {}
    (runs / "empty").mkdir(exist_ok=True)
    (runs / "empty" / "results.json").write_text(json.dumps(evaluation))
    assert "a task in common" in refusal(capsys, runs, "a", "empty")
    assert np.isfinite(compare(runs, "a", "b")["differences"][0]["difference"])
