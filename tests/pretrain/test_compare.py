"""Finished evaluations are compared row by row, or refused by name."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from pretrain.checkpoints import save_checkpoint
from pretrain.clips.splits import HeldOutConfig
from pretrain.compare import main
from pretrain.evaluate.evaluation import EvaluateConfig, evaluate
from pretrain.evaluate.loader import LoaderConfig
from pretrain.model import EgoDTM

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_clips import make_store
from tiny_model import tiny_config


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Evaluations of three models, of which the first was measured under two loaders."""
    folder = tmp_path_factory.mktemp("runs")
    make_store(folder / "store", range(12))

    def run(folder_name: str, seed: int, **loader) -> None:
        path = folder / f"{seed}.safetensors"
        save_checkpoint(path, EgoDTM(tiny_config(), seed=seed), {})
        config = EvaluateConfig(
            checkpoint=str(path),
            tasks=["retrieval", "multiple_choice", "depth"],
            data=HeldOutConfig(path=str(folder / "store"), clips=None),
            loader=LoaderConfig(**loader),
            cache=None,
            device="cpu",
            threads=1,
            run_dir=str(folder / folder_name),
        )
        evaluate(config)

    run("a", 1)
    run("b", 2)
    run("words", 1, tags="drop", name="words")
    changed(folder, "c", lambda results: results["model"].update(fingerprint="c" * 16))
    changed(folder, "c", lambda results: results["tasks"].pop("multiple_choice"), "c")
    changed(folder, "few", lambda results: results["data"].update(selection="of fewer"))
    changed(folder, "other", lambda results: results["loader"].update(frames=2))
    return folder


def changed(runs: Path, name: str, change, source: str = "b") -> str:
    """A copy of an evaluation with other results."""
    if source != name:
        shutil.copytree(runs / source, runs / name, dirs_exist_ok=True)
    results = json.loads((runs / source / "results.json").read_text())
    change(results)
    (runs / name / "results.json").write_text(json.dumps(results, indent=2))
    return name


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
        ("results.json", '"outcomes"', '"rows"', "Expected whole results"),
        ("results.json", '"fingerprint"', '"print"', "Expected whole results"),
        ("outcomes/depth.csv", "slope 3,", "slope 3,nan ", "Expected finite numbers, or nothing"),
        ("outcomes/depth.csv", "slope 3,", "slope 3,zero", "in column delta1 of"),
    ],
)
def test_changed_files_are_refused(runs, capsys, file, old, new, message):
    shutil.copytree(runs / "b", runs / "changed", dirs_exist_ok=True)
    path = runs / "changed" / file
    path.write_text(path.read_text().replace(old, new))
    assert message in refusal(capsys, runs, "a", "changed")


def test_other_relevancies_are_refused(runs, capsys):
    def of(relevancy):
        return lambda results: results["tasks"]["retrieval"]["facts"].update(relevancy=relevancy)

    changed(runs, "one_matrix", of("12"), "a")
    changed(runs, "other_matrix", of("34"))
    error = refusal(capsys, runs, "one_matrix", "other_matrix")
    assert "retrieval with the same relevancy matrices, got others" in error


def test_an_evaluation_of_nothing_in_common_is_refused(runs, capsys):
    changed(runs, "empty", lambda results: results["tasks"].clear())
    assert "a task in common" in refusal(capsys, runs, "a", "empty")
