"""The evaluation command, and the examples of docs/guide/evaluation.md."""

import csv
import functools
import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import pretrain.evaluate.evaluation
from pretrain.checkpoints import save_checkpoint
from pretrain.clips.splits import HeldOutConfig
from pretrain.evaluate.__main__ import main
from pretrain.evaluate.depth_heads import fit_convolutional_depth
from pretrain.evaluate.evaluation import EvaluateConfig
from pretrain.evaluate.retrieval import Retrieval
from pretrain.evaluate.span_head import fit_span_head
from pretrain.evaluate.task import EvaluationTask, Scores, mean_estimate
from pretrain.model import EgoDTM

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_store
from tiny_model import tiny_config

PAGE = Path(__file__).parents[3] / "docs" / "guide" / "evaluation.md"
CLIPS = 70


class Brightness(EvaluationTask):
    """A task of a user's own: how bright clips are, whatever the model. Stops after some items."""

    name = "brightness"
    headline = "mean"
    stop_after = 10**6
    asked = 0

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def size(self, data):
        """Every second clip."""
        return len(data) // 2

    def measure(self, model, data, items):
        """One number a clip."""
        if Brightness.asked + len(items) > Brightness.stop_after:
            raise KeyboardInterrupt
        Brightness.asked += len(items)
        frames = data.frames([2 * item for item in items]).float().mean(dim=(1, 2, 3, 4))
        return [
            {"item": item, "video": str(item), "light": self.scale * light}
            for item, light in zip(items, frames.tolist(), strict=True)
        ]

    def score(self, records):
        """The mean."""
        light = np.array([record["light"] for record in records])
        mean = mean_estimate(light, [record["video"] for record in records])
        return Scores(headline=mean, numbers={"mean": mean}, outcomes=records)


NUMERALS = {"True": "1", "False": "0"}

OWN_TASK = f"{__name__}.Brightness"


@pytest.fixture(autouse=True)
def own_module(monkeypatch: pytest.MonkeyPatch):
    # Imported by its path, pytest does not put this module where import paths lead.
    module = types.ModuleType(__name__)
    module.Brightness = Brightness
    monkeypatch.setitem(sys.modules, __name__, module)
    monkeypatch.setattr(Brightness, "asked", 0)
    monkeypatch.setattr(Brightness, "stop_after", 10**6)
    # One pass is enough here.
    monkeypatch.setattr(
        "pretrain.evaluate.depth_probe.fit_convolutional_depth",
        functools.partial(fit_convolutional_depth, epochs=1),
    )
    monkeypatch.setattr(
        "pretrain.evaluate.language_queries.fit_span_head",
        functools.partial(fit_span_head, epochs=1),
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    make_store(folder / "store", range(CLIPS))
    save_checkpoint(folder / "model.safetensors", EgoDTM(tiny_config(regions=True), seed=1), {})
    return folder


@pytest.fixture
def evaluate(files: Path, tmp_path: Path):
    def evaluate(*overrides: str, run: str = "run") -> dict:
        main(
            [
                f"checkpoint={files / 'model.safetensors'}",
                f"data.path={files / 'store'}",
                f"data.clips={CLIPS}",
                f"cache={tmp_path / 'embeddings'}",
                f"run_dir={tmp_path / run}",
                "device=cpu",
                "threads=1",
                *overrides,
            ]
        )
        return json.loads((tmp_path / run / "results.json").read_text())

    return evaluate


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_tasks_of_a_checkpoint(evaluate, tmp_path, capsys):
    results = evaluate()
    assert {"retrieval", "multiple_choice", "depth", "regions"} <= set(results["tasks"])
    assert results["skipped"] == {
        "linear_probe": "clips with actions",
        "multi_instance": "clips with classes of verbs and nouns",
        "zero_shot": "clips with actions",
    }
    assert results["clips"] == CLIPS
    assert len(results["model"]["fingerprint"]) == 16
    assert results["versions"]["torch"] == torch.__version__
    for name, found in results["tasks"].items():
        assert found["headline"]["low"] <= found["headline"]["value"] <= found["headline"]["high"]
        written = rows(tmp_path / "run" / found["outcomes"])
        # The windows of long videos are items before the queries, and no questions.
        windows = CLIPS if name == "language_queries" else 0
        assert found["items"] == windows + CLIPS
        assert [int(row["item"]) - windows for row in written] == list(range(CLIPS)), name
        assert {row["version"] for row in written} == {"2"}
        # Every number is the mean of the column that bears its name.
        numbers = found["numbers"] | {found["headline"]["name"]: found["headline"]}
        for number, one in numbers.items():
            values = [NUMERALS.get(row[number], row[number]) for row in written if row[number]]
            assert np.mean([float(value) for value in values]) == pytest.approx(one["value"]), (
                number
            )
    out = capsys.readouterr().out
    for part in ("text to video r1", "delta1", "iou", "95% interval", "results.json"):
        assert part in out


def test_a_configuration_made_in_code_measures_its_checkpoint(files, tmp_path):
    config = EvaluateConfig(
        checkpoint=str(files / "model.safetensors"),
        tasks=["retrieval"],
        data=HeldOutConfig(path=str(files / "store"), clips=CLIPS),
        cache=None,
        device="cpu",
        threads=1,
        run_dir=str(tmp_path / "run"),
    )
    results, _ = pretrain.evaluate.evaluation.evaluate(config)
    assert results.model["name"] == "tiny"
    assert list(results.tasks) == ["retrieval"]


def test_a_task_by_import_path_stands_beside_ours(evaluate, tmp_path):
    results = evaluate(f"tasks=[retrieval,{{_target_: {OWN_TASK}, scale: 2}}]")
    assert set(results["tasks"]) == {"retrieval", "brightness"}
    found = results["tasks"]["brightness"]
    assert found["items"] == CLIPS // 2
    lights = [float(row["light"]) for row in rows(tmp_path / "run" / found["outcomes"])]
    assert found["headline"]["value"] == pytest.approx(np.mean(lights))


def test_a_killed_evaluation_goes_on_with_what_is_left(evaluate, tmp_path, monkeypatch):
    tasks = f"tasks=[multiple_choice,{OWN_TASK}]"
    whole = evaluate(tasks, run="whole")
    assert Brightness.asked == 35
    Brightness.asked, Brightness.stop_after = 0, 32
    with pytest.raises(KeyboardInterrupt):
        evaluate(tasks)
    assert not (tmp_path / "run" / "results.json").exists()
    Brightness.asked, Brightness.stop_after = 0, 100
    again = evaluate(tasks)
    assert Brightness.asked == 3
    assert again["tasks"] == whole["tasks"]
    # A further task is measured alone, the others are only scored again.
    monkeypatch.setattr(Brightness, "measure", None)
    more = evaluate(f"tasks=[multiple_choice,{OWN_TASK},depth]")
    assert more["tasks"]["brightness"] == whole["tasks"]["brightness"]
    assert "depth" in more["tasks"]


def test_a_folder_of_other_measurements_is_refused(evaluate, files, capsys):
    evaluate("tasks=[retrieval]")
    other = files / "other.safetensors"
    save_checkpoint(other, EgoDTM(tiny_config(), seed=2), {})
    for setting, named in ((f"checkpoint={other}", "model"), ("data.clips=40", "data")):
        with pytest.raises(SystemExit):
            evaluate("tasks=[retrieval]", setting)
        assert re.search(rf"ResumeMismatchError: .*{named} differ", capsys.readouterr().err)
    evaluate(f"tasks=[{OWN_TASK}]")
    with pytest.raises(SystemExit):
        evaluate(f"tasks=[{{_target_: {OWN_TASK}, scale: 2}}]")
    assert "task brightness differ" in capsys.readouterr().err


def test_what_a_model_was_not_trained_for_is_left_out_or_refused_by_name(evaluate, files, capsys):
    path = files / "depth_only.safetensors"
    card = {"objective": {"text": 0, "depth": 1, "region": 0}}
    save_checkpoint(path, EgoDTM(tiny_config(), seed=3), card)
    results = evaluate(f"checkpoint={path}", run="depth_only")
    assert set(results["tasks"]) == {"depth", "depth_probe"}
    assert results["skipped"]["retrieval"] == "a model that encodes texts"
    with pytest.raises(SystemExit):
        evaluate(f"checkpoint={path}", "tasks=[regions]", run="refused")
    error = capsys.readouterr().err
    assert "Expected a model with boxes for the task regions, got tiny" in error


def test_all_goes_on_without_what_there_is_too_little_for(evaluate, tmp_path, capsys):
    make_store(tmp_path / "two", range(2))
    results = evaluate(f"data.path={tmp_path / 'two'}", "data.clips=null")
    assert set(results["tasks"]) >= {"depth", "retrieval", "regions"}
    assert results["skipped"]["depth_probe"].startswith("clips of at least three scenes")
    assert "depth_probe was not measured: it needs clips of at" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        evaluate(f"data.path={tmp_path / 'two'}", "data.clips=null", "tasks=[depth_probe]")
    assert "TooFewError: Expected clips of at least three scenes" in capsys.readouterr().err


def test_a_model_with_gradients_is_measured(evaluate, tmp_path, monkeypatch):
    (tmp_path / "learning_model.py").write_text(
        "import torch\n"
        "class Learning(torch.nn.Linear):\n"
        "    name, fingerprint, frames, resolution = 'learning', 'learning-1', 4, 32\n"
        "    def __init__(self):\n"
        "        super().__init__(3, 3)\n"
        "    def encode_video(self, frames):\n"
        "        return self(frames.float().mean(dim=(1, 2, 3)) / 255)\n"
        "    def encode_text(self, texts):\n"
        "        return self(torch.tensor([[len(t), t.count('red'), 1.0] for t in texts]))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    target = "video_text_model._target_=learning_model.Learning"
    results = evaluate("video_text_model=custom", target, "tasks=[retrieval]")
    assert results["tasks"]["retrieval"]["items"] == CLIPS


def test_a_wrong_number_of_records_is_refused(evaluate, monkeypatch, capsys):
    whole = Retrieval.measure

    def one_short(self, model, data, items):
        return whole(self, model, data, items)[:-1]

    monkeypatch.setattr(Retrieval, "measure", one_short)
    with pytest.raises(SystemExit):
        evaluate("tasks=[retrieval]")
    assert "a record for each of 32 items, got 31" in capsys.readouterr().err


def test_the_examples_of_the_guide_run(evaluate, tmp_path, monkeypatch):
    model, task = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "my_model.py").write_text(model)
    (tmp_path / "my_task.py").write_text(task)
    monkeypatch.syspath_prepend(str(tmp_path))
    results = evaluate(
        "video_text_model=custom",
        "video_text_model._target_=my_model.ColorNames",
        "tasks=[retrieval,my_task.FiveVideos]",
    )
    assert results["model"]["name"] == "color_names"
    # Most squares are told apart by their colors alone; a guess would be right once in five.
    assert results["tasks"]["five_videos"]["headline"]["low"] > 0.25
    assert results["tasks"]["five_videos"]["items"] == CLIPS


def test_clips_are_drawn_when_none_are_given(evaluate, files, tmp_path):
    results = evaluate(
        "data.path=null",
        "data.clips=2",
        "data.workers=0",
        f"data.cache={tmp_path / 'clips'}",
        "tasks=[depth]",
    )
    assert results["clips"] == 2
    (path,) = results["data"]["paths"]
    assert path.endswith("/test")
