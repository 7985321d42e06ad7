import json
from pathlib import Path

import pytest

from egodtm_robot.comparison import command_runs, grid
from egodtm_robot.comparison.command_runs import RunFailedError
from egodtm_robot.comparison.grid import GridConfig, run_grid
from egodtm_robot.core.configuration import compose
from egodtm_robot.core.configuration.instantiation import group_names
from egodtm_robot.core.errors import (
    CheckpointError,
    ConfigurationError,
    ResumeMismatchError,
    UnknownNameError,
)
from egodtm_robot.core.processes.runner import LOCAL_RUNNER
from egodtm_robot.evaluation.results import RunResults, success_summary

HERE = {**LOCAL_RUNNER, "workers": 0}


def write_results(env, seed, run_dir):
    RunResults(
        env=env, environment={}, encoder={}, policy="mlp", protocol="standard",
        seed=seed, demos={}, checkpoints=[], best_checkpoint=1,
        final=success_summary(70, 35), timings_s={}, versions={},
    ).save(run_dir)  # fmt: skip


class Runs:
    """Stands for ``train_bc``: writes results, or fails where it is told to."""

    def __init__(self, failing: str | None = None) -> None:
        self.failing = failing
        self.started: list[dict[str, str]] = []

    def __call__(self, module, arguments, log, threads):
        assert module == "egodtm_robot.train_bc"
        choices = dict(argument.split("=", 1) for argument in arguments)
        self.started.append(choices)
        if choices["encoder"] == self.failing:
            log.write_text("WeightsError: Expected weights at weights.safetensors.\n")
            return 2
        log.write_text("70 episodes\n")
        write_results(choices["env"], int(choices["seed"]), Path(choices["run_dir"].strip("'")))
        return 0


def configure(tmp_path, **changes):
    settings = {
        "encoders": ["none", "pixels"],
        "environments": ["franka_kitchen_light", "robohive_kitchen_knob"],
        "seeds": [0, 1],
        "run_dir": str(tmp_path / "runs"),
        "runner": HERE,
    }
    return GridConfig(**settings | changes)


def start(monkeypatch, config, failing=None):
    runs = Runs(failing)
    monkeypatch.setattr(command_runs, "run_module", runs)
    return runs, run_grid(config)


def test_every_encoder_meets_every_environment_with_every_seed(monkeypatch, tmp_path):
    runs, table = start(monkeypatch, configure(tmp_path))
    met = {(run["encoder"], run["env"], run["seed"]) for run in runs.started}
    assert len(met) == len(runs.started) == 8
    assert ("pixels", "robohive_kitchen_knob", "1") in met
    assert table.cells["pixels", "robohive_kitchen_knob"].episodes == 140
    parent = tmp_path / "runs"
    assert (parent / "franka_kitchen_light/none/seed_0/log.txt").read_text() == "70 episodes\n"
    assert (parent / "table.md").read_text() == table.to_markdown() + "\n"
    assert json.loads((parent / "table.json").read_text()) == table.to_json()


@pytest.mark.parametrize("environment", group_names("env"))
def test_every_environment_of_the_configuration_can_be_compared(tmp_path, environment):
    configure(tmp_path, environments=[environment])


def test_finished_runs_are_not_repeated_and_an_encoder_more_costs_its_own(monkeypatch, tmp_path):
    start(monkeypatch, configure(tmp_path))
    again, _ = start(monkeypatch, configure(tmp_path))
    assert again.started == []
    more, table = start(monkeypatch, configure(tmp_path, encoders=["none", "pixels", "oracle"]))
    assert {run["encoder"] for run in more.started} == {"oracle"}
    assert len(more.started) == 4
    assert ("oracle", "franka_kitchen_light") in table.cells


def test_finished_runs_in_folders_named_by_the_task_alone_still_count(monkeypatch, tmp_path):
    """As they were named when only the first kitchen could be compared."""
    before = tmp_path / "runs"
    for scene, folder in (("franka", "light"), ("robohive", "other_light")):
        run_dir = before / folder / "pixels" / "seed_0"
        run_dir.mkdir(parents=True)
        write_results(f"{scene}_kitchen_light", 0, run_dir)
    runs, table = start(monkeypatch, configure(tmp_path, seeds=[0]))
    met = {(run["encoder"], run["env"]) for run in runs.started}
    assert ("pixels", "franka_kitchen_light") not in met
    assert len(met) == 3
    assert table.cells["pixels", "franka_kitchen_light"].episodes == 70


def test_what_varies_makes_a_row_of_every_combination(monkeypatch, tmp_path):
    vary = ["policy=mlp,mlp_attention", "env.cameras=[wrist],[left,right]"]
    runs, table = start(monkeypatch, configure(tmp_path, encoders=["pixels"], vary=vary))
    assert len(runs.started) == 2 * 2 * 2 * 2
    assert ("mlp_attention", "[left,right]") in {
        (run["policy"], run["env.cameras"]) for run in runs.started
    }
    assert table.encoders[1] == "pixels policy=mlp env.cameras=[left,right]"
    assert len({run["run_dir"] for run in runs.started}) == 16
    again, _ = start(monkeypatch, configure(tmp_path, encoders=["pixels"], vary=vary))
    assert again.started == []


def test_a_varied_protocol_takes_the_place_of_the_common_one(monkeypatch, tmp_path):
    runs, _ = start(monkeypatch, configure(tmp_path, vary=["protocol=quick,r3m"]))
    assert {run["protocol"] for run in runs.started} == {"quick", "r3m"}


def test_checkpoints_are_given_on_the_command_line(tmp_path):
    (tmp_path / "text_seed0.safetensors").write_bytes(b"weights")
    path = str(tmp_path / "text_seed{seed}.safetensors")
    given = ["encoders=[text,pixels]", "seeds=[0]", f"+checkpoints.text='{path}'"]
    config = compose(GridConfig, "benchmark", given)
    assert config.checkpoint("text", 0) == tmp_path / "text_seed0.safetensors"


def test_overrides_come_after_the_benchmarks_own_choices(monkeypatch, tmp_path):
    runs, _ = start(monkeypatch, configure(tmp_path, overrides=["videos=2", "env.visual=shifted"]))
    assert {(run["videos"], run["env.visual"]) for run in runs.started} == {("2", "shifted")}


def test_every_setting_can_be_given_on_the_command_line():
    given = ["protocol_name=quick", "runner=local", "runner.workers=3", "vary=['policy=mlp,knn']"]
    config = compose(GridConfig, "benchmark", given)
    assert config.protocol_name == "quick"
    assert config.runner["workers"] == 3
    assert [row.settings for row in config.rows()[:2]] == [("policy=mlp",), ("policy=knn",)]


def test_a_seed_out_of_range_is_refused_on_the_command_line():
    with pytest.raises(ConfigurationError, match="seeds.*-1"):
        compose(GridConfig, "benchmark", ["seeds=[0,-1]"])


def test_overrides_are_read_from_the_command_line():
    given = ["overrides=['videos=2','env.visual=shifted']"]
    config = compose(GridConfig, "benchmark", given)
    assert config.overrides == ["videos=2", "env.visual=shifted"]


@pytest.mark.parametrize(
    "other", [{"protocol_name": "quick"}, {"overrides": ["env.visual=shifted"]}], ids=str
)
def test_finished_runs_of_other_settings_are_not_shown_for_these(monkeypatch, tmp_path, other):
    start(monkeypatch, configure(tmp_path))
    with pytest.raises(ResumeMismatchError, match="quick|shifted"):
        start(monkeypatch, configure(tmp_path, **other))


@pytest.mark.parametrize("nothing", ["encoders", "environments", "seeds"])
def test_a_benchmark_of_nothing_is_refused(tmp_path, nothing):
    with pytest.raises(ConfigurationError, match=nothing):
        configure(tmp_path, **{nothing: []})


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"encoders": ["pixels", "pixel"]}, UnknownNameError, "encoder 'pixel'.*'pixels'"),
        (
            {"environments": ["franka_kitchen_light", "light"]},
            UnknownNameError,
            "env 'light'.*franka_kitchen_light",
        ),
        ({"protocol_name": "quik"}, UnknownNameError, "protocol 'quik'.*'quick'"),
        ({"vary": ["policy=mlp,mpl"]}, UnknownNameError, "policy 'mpl'.*'mlp'"),
        ({"vary": ["policy=mlp"]}, ConfigurationError, "several values.*policy=mlp"),
        ({"vary": ["policy"]}, ConfigurationError, "entries of vary"),
        ({"vary": ["seed=1,2"]}, ConfigurationError, "none of encoder, env.*seed=1,2"),
        ({"seeds": [0, 0]}, ConfigurationError, "each of seeds once"),
        ({"runner": {**HERE, "workers": -1}}, ConfigurationError, "runner.workers"),
        ({"runner": {**HERE, "retries": -1}}, ConfigurationError, "runner.retries"),
        ({"runner": {**HERE, "worker": 1}}, UnknownNameError, "worker.*'workers'"),
        ({"runner": {"_target_": "pathlib.Path"}}, ConfigurationError, "subclass of"),
    ],
    ids=str,
)
def test_every_name_is_checked_before_the_first_run(tmp_path, wrong, error, message):
    with pytest.raises(error, match=message):
        configure(tmp_path, **wrong)
    assert not (tmp_path / "runs").exists()


def test_a_failing_run_is_named_with_its_output_and_starts_no_more(monkeypatch, tmp_path):
    config = configure(tmp_path, encoders=["oracle", "none", "pixels"])
    runs = Runs(failing="oracle")
    monkeypatch.setattr(command_runs, "run_module", runs)
    message = r"(?s)oracle on franka_kitchen_light, seed 0, .*exit code 2.*WeightsErr"
    with pytest.raises(RunFailedError, match=message):
        run_grid(config)
    assert len(runs.started) == 1
    assert (tmp_path / "runs/franka_kitchen_light/oracle/seed_0/log.txt").is_file()


def test_a_row_may_be_checkpoints_of_pretraining_one_for_each_seed(monkeypatch, tmp_path):
    for seed in (0, 1):
        (tmp_path / f"text_seed{seed}.safetensors").write_bytes(b"weights %d" % seed)
    rows = {
        "encoders": ["text", "pixels"],
        "checkpoints": {"text": str(tmp_path / "text_seed{seed}.safetensors")},
    }
    runs, table = start(monkeypatch, configure(tmp_path, **rows))
    met = {
        (run["seed"], Path(run["encoder.checkpoint"].strip("'")).name)
        for run in runs.started
        if run["encoder"] == "egodtm"
    }
    assert met == {("0", "text_seed0.safetensors"), ("1", "text_seed1.safetensors")}
    assert table.cells["text", "franka_kitchen_light"].episodes == 140
    # Weights trained again cost their own runs again, and no others.
    (tmp_path / "text_seed1.safetensors").write_bytes(b"better weights")
    grid._digest.cache_clear()
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
