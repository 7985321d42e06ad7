"""What every policy of the configuration keeps."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from egodtm_robot.learning.behavior_cloning import BehaviorCloningConfig, train
from policies.checkpoints import load_policy
from policies.registry import choose_policy, policy_names

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_demonstrations import make_dataset

CONFIG = BehaviorCloningConfig(steps=20, validate_every=10, save_every=10)
NAMES = [name for name in policy_names() if name != "custom"]


@pytest.fixture(scope="module", params=[(1, 1), (3, 2)], ids=["plain", "memory"])
def horizons(request):
    return dict(zip(("history", "action_chunk"), request.param, strict=True))


@pytest.fixture(scope="module", params=NAMES)
def trained(request, horizons, tmp_path_factory):
    choice = choose_policy({"name": request.param, **horizons, "execute": None})
    folder = tmp_path_factory.mktemp(request.param)
    return choice, folder, train(CONFIG, choice, make_dataset(channels=20), folder, seed=0)


def episodes(count, steps):
    """Observations of some environments, step by step."""
    generator = np.random.default_rng(1)
    for _ in range(steps):
        yield {
            "proprioception": generator.normal(size=(count, 3)).astype(np.float32),
            "features/left": generator.normal(size=(count, 4, 20)).astype(np.float32),
        }


def act(policy, steps, rows=slice(None)):
    state, actions = None, []
    for observation in steps:
        action, state = policy.predict({k: v[rows] for k, v in observation.items()}, state)
        actions.append(action)
    return np.stack(actions)


def test_actions_are_float32_within_their_limits(trained):
    actions = act(trained[2].policy, episodes(4, 5))
    assert actions.shape == (5, 4, 2)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1


def test_an_episode_does_not_depend_on_those_beside_it(trained):
    together = act(trained[2].policy, episodes(20, 5))
    for row in (0, 7, 19):
        alone = act(trained[2].policy, episodes(20, 5), slice(row, row + 1))
        np.testing.assert_allclose(alone[:, 0], together[:, row], atol=1e-6)


def test_a_loaded_policy_acts_as_the_trained_one_to_the_bit(trained):
    _, _, result = trained
    loaded = load_policy(result.checkpoints[-1].path).policy
    np.testing.assert_array_equal(act(loaded, episodes(4, 5)), act(result.policy, episodes(4, 5)))


def test_training_again_gives_the_same_weights(trained, tmp_path):
    choice, folder, result = trained
    for place in (tmp_path, folder):  # from the beginning, and in the folder of the finished run
        again = train(CONFIG, choice, make_dataset(channels=20), place, seed=0)
        for name, tensor in result.policy.state_dict().items():
            assert torch.equal(again.policy.state_dict()[name], tensor), name
        assert [c.step for c in again.checkpoints] == [c.step for c in result.checkpoints]


class Stop(Exception):
    pass


def stop(step, *_):
    raise Stop


def test_a_stopped_run_goes_on_to_the_same_weights(trained, tmp_path):
    choice, _, _ = trained
    if choice.kind == "knn":
        pytest.skip("it takes no steps")
    short = dataclasses.replace(CONFIG, validate_every=15)
    whole = train(short, choice, make_dataset(channels=20), tmp_path / "whole", seed=0)
    with pytest.raises(Stop):  # at the second report, behind the state of step 10
        train(
            short, choice, make_dataset(channels=20), tmp_path / "cut", seed=0,
            progress=lambda step, *_: step > 10 and stop(step),
        )  # fmt: skip
    resumed = train(short, choice, make_dataset(channels=20), tmp_path / "cut", seed=0)
    assert resumed.resumed_step == 10
    for name, tensor in whole.policy.state_dict().items():
        assert torch.equal(resumed.policy.state_dict()[name], tensor), name


def test_the_loss_is_lower_on_what_was_demonstrated(trained):
    from egodtm_robot.learning.batches import DemonstratedSteps, PolicyBatches

    policy = trained[2].policy
    losses = []
    for seed in (0, 5):
        dataset = make_dataset(channels=20, seed=seed)
        steps = DemonstratedSteps(dataset, np.arange(10), policy.history, policy.chunk)
        (batch,) = PolicyBatches(steps, policy)
        with torch.no_grad():
            losses.append(float(policy.loss(batch)[0]))
    assert 0 <= losses[0] < losses[1]
