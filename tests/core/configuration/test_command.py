import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from egodtm_robot.core.configuration import (
    command,
    compose,
    from_yaml,
    to_yaml,
    with_clean_errors,
)
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from envs.cameras import CameraError
from envs.kitchen.config import KitchenConfig
from envs.registry import environment_record, read_environment

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class ToyDemos:
    path: str | None = None
    episodes: int = 10


@dataclass
class ToyConfig:
    env: dict[str, Any] = field(default_factory=dict)
    demos: ToyDemos = field(default_factory=ToyDemos)
    encoder: Any = field(default_factory=dict)
    seed: int = 0
    run_dir: str | None = "runs/toy"
    format: Literal["plain", "packed"] = "plain"

    def __post_init__(self) -> None:
        self.env = environment_record(read_environment(self.env))


TOY = """
defaults:
  - toy_schema
  - env: franka_kitchen_microwave
  - _self_
encoder:
  _target_: egodtm_robot.nothing
"""

received: list[ToyConfig] = []


@command(ToyConfig, "toy")
def toy(config: ToyConfig) -> None:
    received.append(config)
    if config.seed == 13:
        raise UnknownNameError("seed", 13, ["12", "14"])


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the toy command in an empty folder and return the configurations that reached it."""
    configs = tmp_path / "own_configs"
    configs.mkdir()
    (configs / "toy.yaml").write_text(TOY)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run_toy(*arguments: str) -> list[ToyConfig]:
        received.clear()
        toy(["--config-dir", str(configs), *arguments])
        return list(received)

    return run_toy


def refused(run, capsys, *arguments: str) -> str:
    """Run expecting exit code 2, nothing executed and one line on stderr; return the line."""
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2
    assert received == []
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_defaults_reach_the_command_as_dataclasses_and_nothing_is_written(run):
    (config,) = run()
    assert config.env == environment_record(KitchenConfig())
    assert config.run_dir == "runs/toy"
    assert os.listdir() == []


def test_overrides_in_groups_lists_and_nested_keys(run):
    (config,) = run(
        "env=franka_kitchen_knob",
        "env.cameras=[left,right]",
        "env.resolution=64",
        "demos.path=/data/demos",
        "encoder._target_=my.module.Mine",
        "+encoder.width=3",
        "run_dir=here/there",
    )
    assert config.env["task"] == "knob"
    assert config.env["cameras"] == ["left", "right"]
    assert config.env["resolution"] == 64
    assert config.demos.path == "/data/demos"
    assert config.encoder == {"_target_": "my.module.Mine", "width": 3}
    assert config.run_dir == "here/there"
    assert os.listdir() == []


def test_a_setting_may_be_called_as_a_group_of_another_command(run):
    (config,) = run("format=packed", "seed=1")
    assert (config.format, config.seed) == ("packed", 1)
    configs = run("-m", "format=plain,packed")
    assert [config.format for config in configs] == ["plain", "packed"]


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("env.taks=knob", ["ConfigurationError", "'env.taks'", "Did you mean 'env.task'?"]),
        ("sed=1", ["ConfigurationError", "'sed'", "Did you mean 'seed'?"]),
        ("resolution=64", ["'resolution'", "Did you mean 'env.resolution'?"]),
        ("+new=1", ["ConfigurationError", "Unknown key 'new'"]),
        ("++env.new=1", ["UnknownNameError", "option of KitchenConfig 'new'"]),
        ("encoder.width=3", ["Unknown key 'encoder.width'", "+encoder.width=VALUE"]),
        (
            "env=franka_kitchen_nob",
            ["UnknownNameError", "franka_kitchen_kettle", "Did you mean 'franka_kitchen_knob'?"],
        ),
        ("env.task=knobb", ["UnknownNameError", "Did you mean 'knob'?"]),
        ("env.cameras=[lef]", ["UnknownNameError", "Did you mean 'left'?"]),
        ("env.cameras=[left,left]", ["twice"]),
        ("env.randomization=fk2", ["UnknownNameError", "Did you mean 'fk1'?"]),
        ("env.resolution=4", ["16 to 1024", "got 4"]),
        ("env.horizon=0", ["env.horizon", "got 0"]),
        ("env={task: knob}", ["env takes a name"]),
        ("seed=abc", ["ConfigurationError: seed:", "'abc'", "Integer"]),
        ("seed=1.5", ["ConfigurationError: seed:", "'1.5'"]),
        ("demos.episodes=null", ["demos.episodes"]),
        ("seed=???", ["No value for seed"]),
        ("seed=1,2", ["several values (1,2)", "add -m"]),
        ("env.cameras=[left", ["Cannot read 'env.cameras=[left'", "key=value"]),
        ("seed", ["Cannot read 'seed'"]),
        ("format=lerobot", ["UnknownNameError", "'lerobot'", "plain, packed"]),
        ("format=[plain]", ["ConfigurationError: format"]),
        ("policy=mlp", ["a choice of policy", "Its groups are: env."]),
    ],
)
def test_a_mistake_is_answered_with_one_line(run, capsys, argument, parts):
    line = refused(run, capsys, argument)
    for part in parts:
        assert part in line
    assert os.listdir() == []


def test_multirun_gives_each_run_a_folder_named_by_what_varies(run):
    configs = run("-m", "seed=1,2", "env=franka_kitchen_knob,franka_kitchen_light", "run_dir=all")
    assert [(config.env["task"], config.seed) for config in configs] == [
        ("knob", 1),
        ("light", 1),
        ("knob", 2),
        ("light", 2),
    ]
    folders = [Path(str(config.run_dir)) for config in configs]
    assert {folder.parent for folder in folders} == {Path("all").resolve()}
    assert folders[0].name == "env=franka_kitchen_knob,seed=1"
    assert len(set(folders)) == 4
    assert os.listdir() == []


def test_multirun_over_paths_stays_one_level_deep(run):
    configs = run("-m", "demos.path=../a/x,../b/x", "run_dir=all")
    assert [Path(str(config.run_dir)).name for config in configs] == [
        "demos.path=.._a_x",
        "demos.path=.._b_x",
    ]


def test_multirun_without_a_run_dir_leaves_naming_to_the_command(run):
    configs = run("-m", "seed=1,2", "run_dir=null")
    assert [config.run_dir for config in configs] == [None, None]
    assert os.listdir() == []


def test_multirun_refuses_a_mistake_in_any_value_before_the_first_run(run, capsys):
    line = refused(run, capsys, "-m", "seed=1,2", "env.task=knob,knobb")
    assert "Did you mean 'knob'?" in line
    assert os.listdir() == []


def test_help_and_the_configuration_are_shown_while_a_required_key_is_missing(run, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("seed=???", "--help")
    assert stopped.value.code == 0
    assert "franka_kitchen_knob" in capsys.readouterr().out
    assert run("seed=???", "--cfg", "job") == []
    assert "seed: ???" in capsys.readouterr().out
    assert os.listdir() == []


@dataclass
class PathsConfig:
    paths: list[str] = field(default_factory=list)
    seed: int = 0


@command(PathsConfig, "paths", "paths")
def with_paths(config: PathsConfig) -> None:
    received.append(config)


@pytest.fixture
def run_with_paths(tmp_path, monkeypatch):
    """Run the command that takes paths in an empty folder."""
    (tmp_path / "paths.yaml").write_text("defaults:\n  - paths_schema\n  - _self_\n")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run_paths(*arguments):
        received.clear()
        with_paths([*arguments, "--config-dir", str(tmp_path)])
        return list(received)

    return run_paths


@pytest.mark.parametrize(
    "path", ["runs/few", "here", "runs/knob/pixels,policy=mlp", "it's [one] $x", "/a/b=c", "a,b"]
)
def test_arguments_that_are_no_settings_are_paths_where_a_command_takes_them(run_with_paths, path):
    (config,) = run_with_paths("other", "seed=3", path)
    assert (config.paths, config.seed) == (["other", path], 3)


def test_what_lies_there_is_a_path_whatever_its_name(run_with_paths):
    Path("seed=4").touch()
    (config,) = run_with_paths("seed=4", "seed=5")
    assert (config.paths, config.seed) == (["seed=4"], 5)


def test_a_command_without_paths_refuses_what_is_no_setting(run, capsys):
    assert "runs/few" in refused(run, capsys, "runs/few")


def test_an_error_raised_by_the_command_is_one_line_and_exit_code_2(run, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("seed=13")
    assert stopped.value.code == 2
    message = "UnknownNameError: Unknown seed 13; expected one of: 12, 14.\n"
    assert capsys.readouterr().err == message


def test_a_missing_config_dir_is_refused(capsys):
    with pytest.raises(SystemExit):
        toy(["--config-dir", "/nowhere"])
    assert "'/nowhere'" in capsys.readouterr().err


def test_a_primary_file_without_its_schema_is_refused(run, tmp_path, capsys):
    (tmp_path / "own_configs" / "toy.yaml").write_text("seed: 1\n")
    assert "must begin with the schema" in refused(run, capsys)


def test_as_a_process_it_runs_from_a_foreign_folder_and_shows_no_traceback(tmp_path):
    configs = tmp_path / "own_configs"
    configs.mkdir()
    (configs / "toy.yaml").write_text(TOY)
    (tmp_path / "toy.py").write_text(
        "from tests_toy import toy\nif __name__ == '__main__':\n    toy()\n"
    )
    (tmp_path / "tests_toy.py").write_text(Path(__file__).read_text())
    process = subprocess.run(
        [sys.executable, "toy.py", "--config-dir", "own_configs", "env.taks=1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    assert "Did you mean 'env.task'?" in process.stderr


@pytest.mark.parametrize("argument", ["--help", "--cfg=job"])
def test_a_reader_that_has_seen_enough_ends_it_without_a_traceback(argument):
    process = subprocess.Popen(
        [sys.executable, "-m", "egodtm_robot.compare", "runs=[a]", argument],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=120) == 141
    assert errors == ""


def test_a_pipe_that_breaks_elsewhere_is_an_error_of_the_program():
    def broken():
        raise BrokenPipeError("a worker")

    with pytest.raises(BrokenPipeError, match="a worker"):
        with_clean_errors(broken)


@pytest.mark.parametrize(
    "task",
    ["microwave", "slide_cabinet", "hinge_cabinet", "knob", "light", "kettle", "microwave_light"],
)
def test_each_task_has_its_file(run, task):
    (config,) = run(f"env=franka_kitchen_{task}")
    assert config.env == environment_record(KitchenConfig(task=task))


def test_a_free_camera_can_be_given_on_the_command_line(run):
    (config,) = run(
        "env.cameras=[wrist,{name: high, position: [0, -1, 3.5], look_at: [0, 0.4, 1.8]}]"
    )
    wrist, high = read_environment(config.env).resolved_cameras
    assert (wrist.name, high.name, high.position, high.fovy) == (
        "wrist",
        "high",
        (0.0, -1.0, 3.5),
        45.0,
    )


def test_an_incomplete_free_camera_is_refused():
    with pytest.raises(CameraError, match="at least a name and a position"):
        KitchenConfig(cameras=[{"name": "high"}])


def test_yaml_keeps_everything():
    config = ToyConfig(
        env=environment_record(KitchenConfig(task="light", cameras=["top"])), encoder={"a": [1, 2]}
    )
    assert from_yaml(ToyConfig, to_yaml(config)) == config


@pytest.mark.parametrize("text", ["sed: 1", "seed: [", "seed: abc"])
def test_yaml_that_does_not_fit_is_refused(text):
    with pytest.raises(ConfigurationError, match="ToyConfig"):
        from_yaml(ToyConfig, text)


def test_compose_refuses_unknown_primary_files():
    with pytest.raises(ConfigurationError, match="nowhere"):
        compose(ToyConfig, "nowhere")
