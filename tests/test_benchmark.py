import json
import subprocess
import threading
from pathlib import Path

import pytest

from egodtm_robot import benchmark
from egodtm_robot.benchmark import BenchmarkConfig, BenchmarkRunError, run_benchmark
from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import (
    CheckpointError,
    ConfigurationError,
    ResumeMismatchError,
    UnknownNameError,
)
from egodtm_robot.report import RunResults, success_summary


class Runs:
    """Stands for ``train_bc``: writes results, or fails where it is told to."""

    def __init__(self, failing: str | None = None) -> None:
        self.failing = failing
        self.started: list[dict[str, str]] = []
        self.lock = threading.Lock()

    def __call__(self, command, stdout, **_):
        choices = dict(argument.split("=", 1) for argument in command[3:])
        with self.lock:
            self.started.append(choices)
        if choices["encoder"] == self.failing:
            stdout.write("WeightsError: Expected weights at weights.safetensors.\n")
            stdout.flush()
            return subprocess.CompletedProcess(command, 1)
        RunResults(
            env=choices["env"], environment={}, encoder={}, policy="mlp", protocol="standard",
            seed=int(choices["seed"]), demos={}, checkpoints=[], best_checkpoint=1,
            final=success_summary(70, 35), timings_s={}, versions={},
        ).save(Path(choices["run_dir"]))  # fmt: skip
        return subprocess.CompletedProcess(command, 0)


def configure(tmp_path, **changes):
    settings = {"encoders": ["none", "pixels"], "tasks": ["light", "knob"], "seeds": [0, 1]}
    return BenchmarkConfig(**settings | {"run_dir": str(tmp_path)} | changes)


def start(monkeypatch, config, failing=None):
    runs = Runs(failing)
    monkeypatch.setattr(benchmark.subprocess, "run", runs)
    return runs, run_benchmark(config)


def test_every_encoder_meets_every_task_with_every_seed(monkeypatch, tmp_path):
    runs, table = start(monkeypatch, configure(tmp_path))
    met = {(run["encoder"], run["env"], run["seed"]) for run in runs.started}
    assert len(met) == len(runs.started) == 8
    assert ("pixels", "franka_kitchen_knob", "1") in met
    assert table.cells["pixels", "knob"].episodes == 140
    assert (tmp_path / "table.md").read_text() == table.to_markdown() + "\n"
    assert json.loads((tmp_path / "table.json").read_text()) == table.to_json()


def test_finished_runs_are_not_repeated_and_an_encoder_more_costs_its_own(monkeypatch, tmp_path):
    start(monkeypatch, configure(tmp_path))
    again, _ = start(monkeypatch, configure(tmp_path))
    assert again.started == []
    more, table = start(monkeypatch, configure(tmp_path, encoders=["none", "pixels", "oracle"]))
    assert {run["encoder"] for run in more.started} == {"oracle"}
    assert len(more.started) == 4
    assert ("oracle", "light") in table.cells


def test_checkpoints_are_given_on_the_command_line(tmp_path):
    (tmp_path / "text_seed0.safetensors").write_bytes(b"weights")
    path = str(tmp_path / "text_seed{seed}.safetensors")
    given = ["encoders=[text,pixels]", "seeds=[0]", f"+checkpoints.text='{path}'"]
    config = compose(BenchmarkConfig, "benchmark", given)
    assert config.checkpoint("text", 0) == tmp_path / "text_seed0.safetensors"


def test_overrides_come_after_the_benchmarks_own_choices(monkeypatch, tmp_path):
    runs, _ = start(monkeypatch, configure(tmp_path, overrides=["videos=2", "env.visual=shifted"]))
    assert {(run["videos"], run["env.visual"]) for run in runs.started} == {("2", "shifted")}


def test_overrides_are_read_from_the_command_line():
    given = ["overrides=['videos=2','env.visual=shifted']"]
    config = compose(BenchmarkConfig, "benchmark", given)
    assert config.overrides == ["videos=2", "env.visual=shifted"]


@pytest.mark.parametrize(
    "other", [{"protocol": "quick"}, {"overrides": ["env.visual=shifted"]}], ids=str
)
def test_finished_runs_of_other_settings_are_not_shown_for_these(monkeypatch, tmp_path, other):
    start(monkeypatch, configure(tmp_path))
    with pytest.raises(ResumeMismatchError, match="quick|shifted"):
        start(monkeypatch, configure(tmp_path, **other))


@pytest.mark.parametrize("nothing", ["encoders", "tasks", "seeds"])
def test_a_benchmark_of_nothing_is_refused(tmp_path, nothing):
    with pytest.raises(ConfigurationError, match=nothing):
        configure(tmp_path, **{nothing: []})


def test_a_failing_run_is_named_with_its_output_and_starts_no_more(monkeypatch, tmp_path):
    config = configure(tmp_path, encoders=["broken", "none", "pixels"], workers=1)
    runs = Runs(failing="broken")
    monkeypatch.setattr(benchmark.subprocess, "run", runs)
    with pytest.raises(BenchmarkRunError, match=r"(?s)broken on light, seed 0.*EncoderWeightsErr"):
        run_benchmark(config)
    assert len(runs.started) == 1
    assert (tmp_path / "light" / "broken" / "seed_0" / "log.txt").is_file()


def test_a_row_may_be_checkpoints_of_pretraining_one_for_each_seed(monkeypatch, tmp_path):
    for seed in (0, 1):
        (tmp_path / f"text_seed{seed}.safetensors").write_bytes(b"weights %d" % seed)
    rows = {
        "encoders": ["text", "pixels"],
        "checkpoints": {"text": str(tmp_path / "text_seed{seed}.safetensors")},
    }
    runs, table = start(monkeypatch, configure(tmp_path, **rows))
    met = {
        (run["seed"], Path(run["encoder.checkpoint"]).name)
        for run in runs.started
        if run["encoder"] == "egodtm"
    }
    assert met == {("0", "text_seed0.safetensors"), ("1", "text_seed1.safetensors")}
    assert table.cells["text", "light"].episodes == 140
    # Weights trained anew cost their own runs again, and no others.
    (tmp_path / "text_seed1.safetensors").write_bytes(b"better weights")
    benchmark._digest.cache_clear()
    again, _ = start(monkeypatch, configure(tmp_path, **rows))
    assert [(run["encoder"], run["seed"]) for run in again.started] == [("egodtm", "1")] * 2


@pytest.mark.parametrize(
    ("checkpoints", "error", "message"),
    [
        ({"txt": "x"}, UnknownNameError, "txt"),
        ({"pixels": "runs/{seed}.safetensors"}, CheckpointError, "0.safetensors, found none"),
        ({"pixels": "runs/{step}"}, ConfigurationError, "{seed}"),
    ],
)
def test_checkpoints_that_are_not_there_are_named_before_anything_runs(
    tmp_path, checkpoints, error, message
):
    with pytest.raises(error, match=message):
        configure(tmp_path, checkpoints=checkpoints)
