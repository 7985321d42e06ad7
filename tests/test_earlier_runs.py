"""Runs that an earlier version of the toolkit began are gone on with.

``tests/data/settings`` holds the ``config.yaml`` that each command of version 0.1.0 wrote for the
overrides below.
"""

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import ResumeMismatchError
from egodtm_robot.core.run_folder import claim_run_dir

STORED = Path(__file__).parent / "data" / "settings"

COMMANDS = {
    "train_bc": (
        "egodtm_robot.learning.cloning_run.TrainBCConfig",
        [
            "env=franka_kitchen_microwave",
            "encoder=efficientnet_lite0",
            "protocol=standard",
            "env.cameras=[left,{name: high, position: [0, -1, 3], look_at: [0, 0.4, 1.8], "
            "fovy: 45}]",
            "seed=3",
        ],
    ),
    "pretrain": (
        "pretrain.run.PretrainConfig",
        ["model=egodtm_tiny", "objective=text_depth", "seed=2", "training.learning_rate=3e-5"],
    ),
    "train_detector": (
        "pretrain.train_detector.TrainDetectorConfig",
        ["stores=[clips/train]", "run_dir=runs/mine"],
    ),
}


def configure(command: str, *overrides: str) -> Any:
    path, given = COMMANDS[command]
    module, name = path.rsplit(".", 1)
    return compose(getattr(importlib.import_module(module), name), command, [*given, *overrides])


@pytest.fixture
def claim(tmp_path: Path):
    def claim(command: str, *overrides: str) -> None:
        shutil.copy(STORED / f"{command}.yaml", tmp_path / "config.yaml")
        claim_run_dir(tmp_path, configure(command, *overrides))

    return claim


@pytest.mark.parametrize("command", COMMANDS)
def test_the_same_settings_are_accepted(command: str, claim: Any):
    claim(command)


@pytest.mark.parametrize(
    ("command", "overrides"),
    [
        ("train_bc", ["workers=7", "environments=3", "device=cpu", "run_dir=other"]),
        (
            "pretrain",
            ["data.workers=0", "data.cache=other", "training.workers=4", "training.threads=2"],
        ),
        ("pretrain", ["training.compile=true", "training.save_every=7", "training.log_every=1"]),
        ("train_detector", ["training.workers=5", "training.save_every=7", "device=cpu"]),
    ],
)
def test_what_does_not_decide_a_run_may_differ(command: str, overrides: list[str], claim: Any):
    claim(command, *overrides)


@pytest.mark.parametrize(
    ("command", "override", "named"),
    [
        ("train_bc", "seed=4", r"seed: 3 -> 4\. "),
        ("train_bc", "protocol.training.batch_size=64", r"protocol\.training\.batch_size: 256 -> "),
        ("train_bc", "env.cameras=[left]", r"env\.cameras: \[.*"),
        ("train_bc", "env.visual=fixed", r"\): env\.visual: varied -> fixed\. "),
        ("train_bc", "env=franka_kitchen_light", r"env\.task: microwave -> light"),
        ("train_bc", "policy.history=2", r"policy\.history: 1 -> 2"),
        ("train_bc", "protocol.training.threads=2", r"protocol\.training\.threads: 1 -> 2"),
        ("pretrain", "training.validate_every=3", r"training\.validate_every: 250 -> 3"),
        ("pretrain", "training.learning_rate=1e-5", r"learning_rate: 3e-05 -> 1e-05"),
        ("train_detector", "training.clip_norm=1", r"training\.clip_norm: 0\.1 -> 1\.0"),
    ],
)
def test_what_decides_a_run_may_not(command: str, override: str, named: str, claim: Any):
    with pytest.raises(ResumeMismatchError, match=named):
        claim(command, override)
