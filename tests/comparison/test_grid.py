import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison import cells, command_runs, grid
from egodtm_robot.comparison.command_runs import RunFailedError
from egodtm_robot.comparison.differences import PairingError
from egodtm_robot.comparison.grid import run_grid
from egodtm_robot.comparison.grid_config import GridConfig
from egodtm_robot.core.configuration import compose
from egodtm_robot.core.configuration.instantiation import group_names
from egodtm_robot.core.errors import (
    CheckpointError,
    ConfigurationError,
    ResumeMismatchError,
    UnknownNameError,
)
from egodtm_robot.core.processes.runner import LOCAL_RUNNER
from egodtm_robot.evaluation.outcomes import outcomes_of, write_outcomes
from egodtm_robot.evaluation.results import RunResults, success_summary
from egodtm_robot.evaluation.rollouts import EpisodeResult

HERE = {**LOCAL_RUNNER, "workers": 0}


def write_results(env, seed, run_dir, protocol="standard"):
    RunResults(
        env=env, environment={}, encoder={}, policy="mlp", protocol=protocol,
        seed=seed, demos={}, checkpoints=[], best_checkpoint=1,
        final=success_summary(70, 35), timings_s={"train": 0.0}, versions={},
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
        run_dir = Path(choices["run_dir"].strip("'"))
        write_results(choices["env"], int(choices["seed"]), run_dir, choices["protocol"])
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
    """The runs that a grid of one protocol starts, and its table."""
    runs, results = start_all(monkeypatch, config, Runs(failing))
    (result,) = results.values()
    return runs, result.table


def start_all(monkeypatch, config, runs):
    monkeypatch.setattr(command_runs, "run_module", runs)
    # Composing the settings of every run takes a tenth of a second each; other tests do it.
    monkeypatch.setattr(grid, "check_cells", lambda cells, config: None)
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
    page = (parent / "report.html").read_text()
    assert all(f">{name}</th>" in page for name in ("none", "pixels"))


def test_recordings_without_an_environment_are_not_compared(tmp_path):
    with pytest.raises(ConfigurationError, match="no simulator"):
        configure(tmp_path, environments=["recorded"])


@pytest.mark.parametrize("environment", sorted({*group_names("env")} - {"recorded"}))
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


def test_every_axis_makes_a_row_of_every_combination(monkeypatch, tmp_path):
    axes = {
        "encoders": ["pixels"],
        "policies": ["mlp", "mlp_attention"],
        "environments": ["franka_kitchen_light"],
        "cameras": [["wrist"], ["left", "right"]],
        "vary": ["demos.episodes=10,25"],
    }
    runs, table = start(monkeypatch, configure(tmp_path, **axes))
    assert len(runs.started) == 2 * 2 * 2 * 2
    assert ("mlp_attention", "[left,right]", "10") in {
        (run["policy"], run["env.cameras"], run["demos.episodes"]) for run in runs.started
    }
    # The encoder is the same in all rows, so no name carries it.
    assert table.encoders[1] == "policy=mlp env.cameras=[wrist] demos.episodes=25"
    assert len({run["run_dir"] for run in runs.started}) == 16
    again, _ = start(monkeypatch, configure(tmp_path, **axes))
    assert again.started == []


def test_a_row_is_named_by_what_differs_and_its_folder_by_all_that_was_chosen(tmp_path):
    one = configure(tmp_path, policies=["mlp"], cameras=[["wrist"]])
    assert [row.name for row in one.rows()] == ["none", "pixels"]
    two = configure(tmp_path, policies=["mlp", "knn"], cameras=[["wrist"]])
    assert [row.name for row in two.rows()][2:] == ["pixels policy=mlp", "pixels policy=knn"]
    assert [row.settings for row in one.rows()] == [row.settings for row in two.rows()][::2]
    assert [row.name for row in configure(tmp_path, encoders=["none"]).rows()] == ["none"]


def test_a_value_more_on_an_axis_costs_its_own_runs(monkeypatch, tmp_path):
    start(monkeypatch, configure(tmp_path, encoders=["pixels"], policies=["mlp"]))
    more = configure(tmp_path, encoders=["pixels"], policies=["mlp", "knn"])
    runs, _ = start(monkeypatch, more)
    assert {run["policy"] for run in runs.started} == {"knn"}


def test_each_protocol_has_a_table_and_a_folder_of_its_own(monkeypatch, tmp_path):
    config = configure(tmp_path, protocols=["quick", "few"])
    runs, results = start_all(monkeypatch, config, Runs())
    assert len(runs.started) == 16
    assert list(results) == ["quick", "few"]
    for protocol, result in results.items():
        folder, table = tmp_path / "runs" / protocol, result.table
        assert table.cells["pixels", "robohive_kitchen_knob"].episodes == 140, "protocols are mixed"
        assert (folder / "table.md").read_text() == table.to_markdown() + "\n"
        found = folder.rglob("results.json")
        assert {json.loads(file.read_text())["protocol"] for file in found} == {protocol}


def test_protocols_may_be_added_and_left_out(monkeypatch, tmp_path):
    start(monkeypatch, configure(tmp_path, protocols=["quick"]))
    both, _ = start_all(monkeypatch, configure(tmp_path, protocols=["quick", "few"]), Runs())
    assert {run["protocol"] for run in both.started} == {"few"}
    for protocol in ("quick", "few"):
        alone, table = start(monkeypatch, configure(tmp_path, protocols=[protocol]))
        assert alone.started == []
        assert table.cells["pixels", "robohive_kitchen_knob"].episodes == 140


def test_a_finished_grid_of_the_first_layout_is_not_repeated(monkeypatch, tmp_path):
    """A folder as it was written when the protocol was one setting and policies were varied."""
    before = tmp_path / "runs"
    rows = ["pixels,policy=mlp", "pixels,policy=knn"]
    for row, seed in itertools.product(rows, (0, 1)):
        run_dir = before / "franka_kitchen_light" / row / f"seed_{seed}"
        run_dir.mkdir(parents=True)
        write_results("franka_kitchen_light", seed, run_dir, "few")
    (before / "config.yaml").write_text("protocol: few\noverrides:\n- videos=1\n")
    runs, table = start(
        monkeypatch,
        configure(
            tmp_path,
            encoders=["pixels"],
            environments=["franka_kitchen_light"],
            policies=["mlp", "knn"],
            protocols=["few"],
            overrides=["videos=1"],
        ),
    )
    assert runs.started == []
    assert table.cells["policy=knn", "franka_kitchen_light"].episodes == 140


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
    given = ["protocols=[quick,few]", "runner=local", "runner.workers=3", "policies=[mlp,knn]"]
    given += ["cameras=[[wrist],[left,right]]", "vary=['demos.episodes=5,6']", "stop=decided"]
    config = compose(GridConfig, "benchmark", given)
    assert config.protocols == ["quick", "few"]
    assert config.runner["workers"] == 3
    assert config.stop == "decided"
    assert [row.settings for row in config.rows()[1:3]] == [
        ("policy=mlp", "env.cameras=[wrist]", "demos.episodes=6"),
        ("policy=mlp", "env.cameras=[left,right]", "demos.episodes=5"),
    ]


def test_a_seed_out_of_range_is_refused_on_the_command_line():
    with pytest.raises(ConfigurationError, match="seeds.*-1"):
        compose(GridConfig, "benchmark", ["seeds=[0,-1]"])


def test_overrides_are_read_from_the_command_line():
    given = ["overrides=['videos=2','env.visual=shifted']"]
    config = compose(GridConfig, "benchmark", given)
    assert config.overrides == ["videos=2", "env.visual=shifted"]


def test_finished_runs_with_other_overrides_are_not_shown_for_these(monkeypatch, tmp_path):
    start(monkeypatch, configure(tmp_path))
    with pytest.raises(ResumeMismatchError, match="shifted"):
        start(monkeypatch, configure(tmp_path, overrides=["env.visual=shifted"]))


def test_a_further_protocol_has_a_folder_in_that_of_the_first(monkeypatch, tmp_path):
    start(monkeypatch, configure(tmp_path))
    start(monkeypatch, configure(tmp_path, protocols=["quick"]))
    assert (tmp_path / "runs" / "table.md").is_file()
    assert (tmp_path / "runs" / "quick" / "table.md").is_file()
    again, _ = start(monkeypatch, configure(tmp_path))
    assert again.started == []


def test_without_a_folder_the_overrides_name_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    start(monkeypatch, configure(tmp_path, run_dir=None))
    others = configure(tmp_path, run_dir=None, overrides=["env.visual=shifted"])
    runs, _ = start(monkeypatch, others)
    assert len(runs.started) == 8
    assert (tmp_path / "runs/benchmark/table.md").is_file()
    assert (tmp_path / "runs/benchmark-overrides_env.visual_shifted/table.md").is_file()
    for config in (others, configure(tmp_path, run_dir=None)):
        again, _ = start(monkeypatch, config)
        assert again.started == []


def test_runs_with_overrides_that_lie_in_the_plain_default_folder_still_count(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    overrides = ["env.visual=shifted"]
    start(monkeypatch, configure(tmp_path, run_dir="runs/benchmark", overrides=overrides))
    again, _ = start(monkeypatch, configure(tmp_path, run_dir=None, overrides=overrides))
    assert again.started == []


@pytest.mark.parametrize("encoders", [["pixels"], ["none", "pixels"]])
@pytest.mark.parametrize(
    "reference",
    [
        "pixels policy=knn demos.episodes=10",
        "demos.episodes=10 pixels policy=knn",
        "pixels,policy=knn,demos.episodes=10",
    ],
)
def test_a_reference_is_found_by_its_whole_name_whatever_varies(tmp_path, encoders, reference):
    axes = {"encoders": encoders, "policies": ["mlp", "knn"], "vary": ["demos.episodes=10,25"]}
    row = configure(tmp_path, **axes, reference=reference).reference_row()
    assert (row.encoder, row.settings) == ("pixels", ("policy=knn", "demos.episodes=10"))


@pytest.mark.parametrize(
    ("axes", "reference", "found"),
    [
        ({"encoders": ["none", "pixels"], "policies": ["mlp"]}, "none", "none policy=mlp"),
        ({"encoders": ["none", "pixels"], "policies": ["mlp"]}, "none policy=mlp", None),
        ({"encoders": ["none"], "policies": ["mlp", "knn"]}, "policy=knn", "none policy=knn"),
        ({"encoders": ["none", "pixels"], "vary": ["videos=1,2"]}, "videos=2 none", None),
    ],
)
def test_a_reference_may_be_as_much_of_a_name_as_one_row_has(tmp_path, axes, reference, found):
    row = configure(tmp_path, **axes, reference=reference).reference_row()
    assert sorted(row.full_name.split()) == sorted((found or reference).split())


@pytest.mark.parametrize("nothing", ["encoders", "environments", "protocols", "seeds"])
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
        ({"protocols": ["quik"]}, UnknownNameError, "protocol 'quik'.*'quick'"),
        ({"policies": ["mlp", "mpl"]}, UnknownNameError, "policy 'mpl'.*'mlp'"),
        ({"vary": ["videos=1"]}, ConfigurationError, "several values.*videos=1"),
        ({"vary": ["videos"]}, ConfigurationError, "entries of vary"),
        ({"vary": ["videos=1,1"]}, ConfigurationError, "each value in vary once"),
        ({"vary": ["videos=1,2", "videos=3,4"]}, ConfigurationError, "each setting of vary once"),
        ({"vary": ["policy=mlp,knn"]}, ConfigurationError, "a field of its own.*use policies"),
        ({"vary": ["seed=1,2"]}, ConfigurationError, "a field of its own.*use seeds"),
        ({"overrides": ["seed=1"]}, ConfigurationError, "no seed in overrides.*seeds"),
        ({"overrides": ["videos=1,2"]}, ConfigurationError, "one value.*videos=1,2"),
        ({"overrides": ["videos"]}, ConfigurationError, "entries of overrides"),
        ({"seeds": [0, 0]}, ConfigurationError, "each of seeds once"),
        ({"cameras": [["wrist"], ["wrist"]]}, ConfigurationError, "each of cameras once"),
        ({"cameras": [[]]}, ConfigurationError, "at least one"),
        ({"margin": 0.0}, ConfigurationError, "margin and alpha between 0 and 1"),
        ({"alpha": 1.0}, ConfigurationError, "margin and alpha between 0 and 1"),
        ({"reference": "pixel"}, UnknownNameError, "row of the benchmark 'pixel'.*'pixels'"),
        (
            {"encoders": ["none", "pixels"], "policies": ["mlp", "knn"], "reference": "policy=mlp"},
            ConfigurationError,
            "'policy=mlp', which fits 'none policy=mlp', 'pixels policy=mlp'",
        ),
        ({"reference": ""}, UnknownNameError, "row of the benchmark ''"),
        ({"stop": "decided", "encoders": ["none"]}, ConfigurationError, "at least two rows"),
        ({"runner": {**HERE, "workers": -1}}, ConfigurationError, "runner.workers"),
        ({"runner": {**HERE, "threads": 2}}, ConfigurationError, "runner.threads"),
        ({"runner": {**HERE, "workers": 1, "threads": 0}}, ConfigurationError, "runner.threads"),
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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cameras": [["wrist"], ["wrst"]]}, "env.cameras=.wrst. on .*'wrst'.*'wrist'"),
        ({"vary": ["polcy.hidden=[1],[2]"]}, "polcy.hidden=.1. on .*'polcy.hidden'"),
        ({"overrides": ["demos.episodes=0"]}, "demos.episodes at least 1"),
        ({"encoders": ["pixels", "r3m"]}, "r3m on .*R3M's weights in encoder.checkpoint, got none"),
        (
            {"cameras": [["wrist"]], "environments": ["franka_kitchen_light", "metaworld_hammer"]},
            "on metaworld_hammer with protocol standard: .*'wrist'",
        ),
    ],
    ids=str,
)
def test_what_a_run_would_refuse_is_refused_before_the_folder_is_claimed(tmp_path, wrong, message):
    settings = {"encoders": ["pixels"], "environments": ["franka_kitchen_light"]}
    with pytest.raises(ConfigurationError, match=message):
        run_grid(configure(tmp_path, **settings | wrong))
    assert not (tmp_path / "runs").exists()


def test_a_failed_run_stops_no_other_and_the_next_start_does_what_is_missing(monkeypatch, tmp_path):
    config = configure(tmp_path)
    message = r"(?s)4 did not:.*none on franka_kitchen_light, seed 0, .*exit code 2; .*WeightsErr"
    with pytest.raises(RunFailedError, match=message):
        start(monkeypatch, config, failing="none")
    parent = tmp_path / "runs"
    assert (parent / "franka_kitchen_light/none/seed_0/log.txt").is_file()
    assert "`pixels`" in (parent / "table.md").read_text()
    progress = json.loads((parent / "progress.json").read_text())
    assert (progress["finished"], len(progress["failed"]), progress["waiting"]) == (4, 4, 0)
    assert progress["failed"][0]["log"].endswith("none/seed_0/log.txt")
    again, _ = start(monkeypatch, config)
    assert {run["encoder"] for run in again.started} == {"none"}


class RunsWithOutcomes(Runs):
    """Stands for ``train_bc``: episodes that succeed as often as their encoder is said to."""

    def __init__(self, rates: dict[str, float], failing: str | None = None, most: int = 99) -> None:
        super().__init__(failing)
        self.rates = rates
        self.most = most

    def __call__(self, module, arguments, log, threads):
        if len(self.started) == self.most:
            raise KeyboardInterrupt
        code = super().__call__(module, arguments, log, threads)
        run = self.started[-1]
        if code == 0:
            # The same luck for all encoders, so that they are paired.
            luck = np.random.default_rng([int(run["seed"]), len(run["env"])]).random(40)
            outcomes = outcomes_of(
                [
                    EpisodeResult(episode, bool(one < self.rates[run["encoder"]]), 9, None, 0, None)
                    for episode, one in enumerate(luck)
                ],
                environment=run["env"],
                task="task",
                look="varied",
                resets="default",
                run_seed=int(run["seed"]),
            )
            run_dir = Path(run["run_dir"].strip("'"))
            write_outcomes(run_dir / "outcomes.csv", outcomes)
            results = RunResults.load(run_dir)
            successes = sum(outcome.success for outcome in outcomes)
            results.final = success_summary(40, successes) | {"outcomes": "outcomes.csv"}
            results.save(run_dir)
        return code


RATES = {"none": 0.7, "pixels": 0.8, "oracle": 0.8}


def sequential(tmp_path, **changes):
    settings = {"encoders": list(RATES), "seeds": list(range(7)), "stop": "decided"}
    return configure(tmp_path, **settings | changes)


def test_a_decided_row_costs_no_further_runs(monkeypatch, tmp_path):
    runs, results = start_all(monkeypatch, sequential(tmp_path), RunsWithOutcomes(RATES))
    seeds = [int(run["seed"]) for run in runs.started]
    assert seeds == sorted(seeds), "the seeds of the arms are not interleaved"
    path = results["standard"].path
    worse, level = path.pairs
    assert (worse.arm, worse.verdict) == ("none", "second")
    assert (level.arm, level.verdict) == ("oracle", "equivalent")
    assert 2 < len(level.blocks) < len(worse.blocks) < 7
    per_encoder = Counter(run["encoder"] for run in runs.started)
    assert per_encoder == {
        "none": 2 * len(worse.blocks),
        "pixels": 2 * len(worse.blocks),
        "oracle": 2 * len(level.blocks),
    }
    assert path.runs == len(runs.started)
    assert path.fixed_runs == 2 * 3 * 7
    assert path.episodes == 40 * len(runs.started)
    table = json.loads((tmp_path / "runs" / "table.json").read_text())
    assert [pair["verdict"] for pair in table["sequential"]["pairs"]] == ["worse", "level"]
    saved = f"Used {path.runs} of 42 runs and {path.episodes} of 1680 episodes"
    assert saved in (tmp_path / "runs" / "table.md").read_text()
    progress = json.loads((tmp_path / "runs" / "progress.json").read_text())
    assert (progress["finished"], progress["waiting"]) == (path.runs, 0)


def test_an_interrupted_sequential_grid_comes_to_the_same_decision(monkeypatch, tmp_path):
    whole, results = start_all(
        monkeypatch, sequential(tmp_path, run_dir=str(tmp_path / "whole")), RunsWithOutcomes(RATES)
    )
    # In the middle of a block, so that the first environment has a seed more than the second.
    with pytest.raises(KeyboardInterrupt):
        start_all(monkeypatch, sequential(tmp_path), RunsWithOutcomes(RATES, most=9))
    rest, again = start_all(monkeypatch, sequential(tmp_path), RunsWithOutcomes(RATES))
    assert len(rest.started) == len(whole.started) - 9
    assert again["standard"].path == results["standard"].path


def test_a_failed_run_ends_a_sequential_grid_after_its_block(monkeypatch, tmp_path):
    runs = RunsWithOutcomes(RATES, failing="none")
    with pytest.raises(RunFailedError, match="2 did not"):
        start_all(monkeypatch, sequential(tmp_path), runs)
    assert {run["seed"] for run in runs.started} == {"0"}
    assert len(runs.started) == 6


def test_runs_without_rows_of_episodes_decide_nothing(monkeypatch, tmp_path):
    start(monkeypatch, configure(tmp_path))
    with pytest.raises(PairingError, match="totals alone"):
        run_grid(configure(tmp_path, stop="decided"))


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
    cells._digest.cache_clear()
    again, _ = start(monkeypatch, configure(tmp_path, **rows))
    assert [(run["encoder"], run["seed"]) for run in again.started] == [("egodtm", "1")] * 2


def test_a_row_of_an_encoder_that_reads_files_gets_its_file(monkeypatch, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "mine.safetensors").write_bytes(b"weights")
    checkpoints = {"r3m": str(tmp_path / "model.pt"), "pixels": str(tmp_path / "mine.safetensors")}
    runs, _ = start(
        monkeypatch,
        configure(tmp_path, encoders=["r3m", "pixels"], checkpoints=checkpoints, seeds=[0]),
    )
    met = {
        (run["encoder"], Path(run["encoder.checkpoint"].strip("'")).name) for run in runs.started
    }
    # Pixels read no file: the row only bears their name.
    assert met == {("r3m", "model.pt"), ("egodtm", "mine.safetensors")}


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
