import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.comparison.report.commands import training_commands
from egodtm_robot.comparison.report.run_records import read_records
from egodtm_robot.core.configuration import compose, to_yaml
from egodtm_robot.core.training.identity import decisive
from egodtm_robot.learning.cloning_run import TrainBCConfig

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_runs import write_run

GIVEN = ["encoder=pixels", "policy=mlp_attention", "protocol=few"]
CHANGED = ["protocol.training.steps=50", "policy.hidden=[32,16]", "demos.path='a b/c'"]


def add(folder, environment, seed, *overrides, **fields):
    arguments = [f"env={environment}", f"seed={seed}", *GIVEN, *overrides]
    config = compose(TrainBCConfig, "train_bc", arguments)
    place = folder / environment / "arm" / f"seed_{seed}"
    fields = {"policy": "mlp"} | fields
    write_run(place, np.ones(4, bool), seed, environment, encoder="pixels", **fields)
    (place / "config.yaml").write_text(to_yaml(config))
    return config


def commands_of(folder):
    return training_commands(read_records(read_arms([folder])))["arm"]


def test_one_command_trains_all_runs_of_an_arm_again(tmp_path):
    for environment in ("franka_kitchen_knob", "franka_kitchen_light"):
        config = add(tmp_path, environment, 0, *CHANGED, "env.resolution=64")
    for environment in ("franka_kitchen_knob", "franka_kitchen_light"):
        place = tmp_path / environment / "arm"
        write_run(place / "seed_3", np.ones(4, bool), 3, environment, encoder="pixels")
        text = (place / "seed_0" / "config.yaml").read_text().replace("\nseed: 0", "\nseed: 3")
        (place / "seed_3" / "config.yaml").write_text(text)
    (line,) = commands_of(tmp_path)
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "egodtm_robot.train_bc", "-m"]
    assert "env=franka_kitchen_knob,franka_kitchen_light" in words
    assert "seed=0,3" in words
    arguments = [word for word in words[4:] if not word.startswith(("env=", "seed="))]
    again = compose(TrainBCConfig, "train_bc", ["env=franka_kitchen_light", "seed=0", *arguments])
    assert decisive(again) == decisive(config)
    # Nothing is named that the groups say already.
    assert len(arguments) <= 3 + len(CHANGED) + 3


def test_what_cannot_be_told_is_in_no_command(tmp_path):
    write_run(tmp_path / "a" / "arm" / "seed_0", np.ones(4, bool), 0, "somebodys_environment")
    assert commands_of(tmp_path) == ()


@pytest.mark.parametrize("content", ["env: 3", "- 1", "{", ""])
def test_settings_that_cannot_be_read_are_in_no_command(tmp_path, content):
    place = tmp_path / "a" / "arm" / "seed_0"
    write_run(place, np.ones(4, bool), 0, "franka_kitchen_knob")
    (place / "config.yaml").write_text(content)
    assert commands_of(tmp_path) == ()
