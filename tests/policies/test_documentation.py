"""What the page on policies says holds."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.configuration import compose
from egodtm_robot.learning.behavior_cloning import BehaviorCloningConfig, train
from egodtm_robot.learning.cloning_run import TrainBCConfig
from policies.checkpoints import load_policy
from policies.registry import choose_policy, policy_names

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_demonstrations import make_dataset

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "policies.md"


@pytest.fixture
def users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "my_policies.py").write_text(example)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_policies", raising=False)
    return "my_policies.MyPolicy"


@pytest.mark.parametrize(
    ("overrides", "history"), [(["policy._target_={}"], 1), (
        ["policy=custom", "policy._target_={}", "+policy.history=2", "+policy.action_chunk=3"], 2)],
)  # fmt: skip
def test_the_example_of_a_users_policy_trains_and_is_loaded(
    users_module: str, tmp_path: Path, overrides: list[str], history: int
):
    given = [override.format(users_module) for override in overrides]
    config = compose(TrainBCConfig, "train_bc", given)
    choice = choose_policy(config.policy)
    assert (choice.kind, choice.config.history) == ("my_policy", history)
    training = BehaviorCloningConfig(steps=300, batch_size=16, learning_rate=1e-2)
    dataset = make_dataset()
    result = train(training, choice, dataset, tmp_path / "run", seed=0)
    policy = load_policy(result.checkpoints[-1].path).policy
    actions, _ = policy.predict(
        {"proprioception": dataset.proprioception, "features/left": dataset.features["left"]}
    )
    # The half of the action that follows from proprioception is learned.
    share = np.mean((actions - dataset.actions) ** 2) / dataset.actions.var()
    assert share < 0.75


def test_the_page_names_every_policy():
    text = PAGE.read_text()
    for name in policy_names():
        assert f"`{name}`" in text
