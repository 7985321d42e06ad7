"""The example of docs/guide/environments.md works as it stands there."""

import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import UnknownNameError
from egodtm_robot.learning.cloning_run import TrainBCConfig, train_bc
from egodtm_robot.rollout import RolloutConfig, rollout
from envs.registry import environment_record, make_environment, read_environment

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "environments.md"

REACH = ["env=custom", "env._target_=my_envs.ReachEnv", "env.task=touch", "env.cameras=[top]"]
SMALL = [
    "env.resolution=32",
    "encoder=pixels",
    "demos.episodes=6",
    "protocol.training.steps=40",
    "protocol.final_episodes=2",
    "workers=0",
    "device=cpu",
    "videos=1",
]


@pytest.fixture
def my_envs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's first example as a module of the user's."""
    example, *_ = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "my_envs.py").write_text(example)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_users_environment_runs_from_collecting_to_film(my_envs: Path) -> None:
    folders = [f"demos.path={my_envs / 'demos'}", f"run_dir={my_envs / 'run'}"]
    config = compose(TrainBCConfig, "train_bc", [*REACH, *SMALL, *folders])
    results, run_dir = train_bc(config)
    assert results.env == "my_reach_touch"
    assert results.demos["attempted"] == 6
    assert results.final["episodes"] == 2
    assert (run_dir / "videos" / "rollouts.mp4").stat().st_size > 100
    again = rollout(RolloutConfig(checkpoint=str(run_dir), episodes=2, workers=0, device="cpu"))
    assert again["successes"] == results.final["successes"]


def test_it_keeps_the_contract(my_envs: Path) -> None:
    options = {"_target_": "my_envs.ReachEnv", "task": "touch", "cameras": ["top"]}
    config = read_environment(options)
    # No file of configs/env names it, so its import path is kept.
    assert read_environment(environment_record(config)) == config
    with closing(make_environment(config)) as one, closing(make_environment(config)) as two:
        one.reset(seed=1)
        for _ in range(3):
            one.step(np.array([0.5, 0.2]))
        two.reset(seed=2)
        two.set_state(one.get_state())
        for _ in range(3):
            first, second = (env.step(np.array([0.1, 0.9])) for env in (one, two))
            np.testing.assert_array_equal(first[0]["rgb"]["top"], second[0]["rgb"]["top"])
            assert first[1:] == second[1:]
        assert 0 < first[4]["progress"] < 1
    with pytest.raises(UnknownNameError, match="Did you mean 'cameras'"):
        read_environment({**options, "camera": "top"})
