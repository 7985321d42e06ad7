import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from egodtm_robot.learning.batches import DemonstratedSteps, PolicyBatches
from policies.base import Policy, PolicyConfig
from policies.sampling import RowGenerators

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_demonstrations import make_dataset


class Doubling(Policy):
    """Precomputes twice the proprioception, and counts how often it is asked to."""

    kind = "doubling"

    def __init__(self, config, spec, fixed=True):
        super().__init__(config, spec)
        self.scale = torch.nn.Parameter(torch.tensor(2.0))
        self.precompute_is_fixed = fixed
        self.asked = 0

    def precompute(self, observation):
        self.asked += 1
        return {"double": observation["proprioception"] * self.scale}

    def plan(self, observation, generator: RowGenerators | None = None):
        raise NotImplementedError

    def loss(self, batch, generator=None):
        raise NotImplementedError


def test_history_and_chunks_stay_within_their_episode():
    dataset = make_dataset(3)
    steps = DemonstratedSteps(dataset, np.array([0, 2]), history=3, chunk=2)
    begin = 0
    for length in np.diff(dataset.episode_offsets)[[0, 2]]:
        for step in range(length):
            row = begin + step
            assert steps.windows[row].tolist() == [
                begin + max(step - 2, 0), begin + max(step - 1, 0), row,
            ]  # fmt: skip
            assert steps.valid[row].tolist() == [True, step + 1 < length]
            assert steps.targets[row].tolist() == [row, min(row + 1, begin + length - 1)]
        begin += length
    assert len(steps.actions) == begin


@pytest.mark.parametrize("fixed", [True, False])
def test_a_batch_holds_windows_of_what_is_precomputed(fixed):
    dataset = make_dataset(3)
    policy = Doubling(PolicyConfig(history=3, action_chunk=2), dataset.spec, fixed)
    batches = PolicyBatches(DemonstratedSteps(dataset, np.arange(3), 3, 2), policy)
    rows = torch.tensor([4, 0])
    batch = batches.batch(rows)
    double = torch.from_numpy(2 * dataset.proprioception)
    assert torch.equal(batch.observation["double"][0], double[2:5])
    assert torch.equal(batch.observation["double"][1], double[[0, 0, 0]])
    assert torch.equal(batch.actions[0], torch.from_numpy(dataset.actions[[4, 5]])) or not bool(
        batch.valid[0, 1]
    )
    assert batch.actions.shape == (2, 2, 2)
    batches.batch(rows)
    assert policy.asked == (1 if fixed else 2), "what is fixed is computed once"
    assert batch.observation["double"].requires_grad != fixed


def test_tokens_reach_a_policy_as_they_are():
    class Raw(Doubling):
        def precompute(self, observation):
            return observation

    dataset = make_dataset(3)
    policy = Raw(PolicyConfig(history=2), dataset.spec)
    batches = PolicyBatches(DemonstratedSteps(dataset, np.arange(3), 2, 1), policy)
    tokens = batches.batch(torch.tensor([1])).observation["features/left"]
    assert torch.equal(tokens, torch.from_numpy(dataset.features["left"][None, :2]))


def test_all_steps_come_once_and_in_order():
    dataset = make_dataset(4)
    policy = Doubling(PolicyConfig(), dataset.spec)
    batches = PolicyBatches(DemonstratedSteps(dataset, np.arange(4), 1, 1), policy)
    actions = torch.cat([batch.actions for batch in batches])
    assert torch.equal(actions[:, 0], torch.from_numpy(dataset.actions))


def with_copies(dataset):
    """Two copies, told apart from the plain features by 10 and 20."""
    plain = dataset.features["left"]
    return dataclasses.replace(dataset, shifted={"left": np.stack([plain + 10, plain + 20])})


class Seeing(Doubling):
    """Precomputes the first number of the first token."""

    kind = "seeing"

    def precompute(self, observation):
        return {"seen": observation["features/left"][:, 0, 0] * self.scale / 2}


@pytest.mark.parametrize("fixed", [True, False])
def test_each_row_of_a_training_batch_is_plain_or_one_copy(fixed):
    dataset = with_copies(make_dataset(20))
    policy = Seeing(PolicyConfig(history=3), dataset.spec, fixed)
    steps = DemonstratedSteps(dataset, np.arange(4, 20), 3, 1)
    batches = PolicyBatches(steps, policy)
    rows = torch.arange(len(batches))
    plain = batches.batch(rows).observation["seen"]
    drawn = batches.batch(rows, torch.Generator().manual_seed(0)).observation["seen"]
    again = batches.batch(rows, torch.Generator().manual_seed(0)).observation["seen"]
    assert torch.equal(drawn, again)
    look = ((drawn - plain) / 10).round()
    torch.testing.assert_close(drawn, plain + 10 * look)
    assert (look == look[:, :1]).all(), "a window is of one copy"
    assert look.unique().tolist() == [0, 1, 2]
    # Whoever goes through all steps, such as a validation, sees the plain ones.
    assert torch.equal(torch.cat([batch.observation["seen"] for batch in batches]), plain)


def test_without_copies_nothing_is_drawn():
    dataset = make_dataset(3)
    policy = Doubling(PolicyConfig(), dataset.spec)
    batches = PolicyBatches(DemonstratedSteps(dataset, np.arange(3), 1, 1), policy)
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    batches.batch(torch.tensor([0, 1]), generator)
    assert torch.equal(generator.get_state(), before)
