"""Means between the entries of a curve."""

import pytest
import torch

from egodtm_robot.core.training.curve import StepMeans


def test_an_entry_is_the_mean_since_the_one_before():
    means = StepMeans()
    for value in (1.0, 2.0, 6.0):
        means.add({"loss": torch.tensor(value), "norm": 2 * value})
    assert means.steps == 3
    assert means.take() == {"loss": 3.0, "norm": 6.0}
    means.add({"loss": torch.tensor(5.0)})
    assert means.take() == {"loss": 5.0}


def test_sums_hold_no_graph():
    weight = torch.ones(1, requires_grad=True)
    means = StepMeans()
    means.add({"loss": (weight * 2).sum()})
    assert not means._sums["loss"].requires_grad


def test_processes_share_their_means():
    means = StepMeans()
    for value in (1.0, 2.0):
        means.add({"a": torch.tensor(value), "b": torch.tensor(-value)})
    other = torch.tensor([3.5, -2.5])
    assert means.take(lambda own: (own + other) / 2) == {"a": 2.5, "b": -2.0}


def test_an_entry_needs_a_step():
    means = StepMeans()
    means.add({"loss": 1.0})
    means.take()
    with pytest.raises(ValueError, match="got none"):
        means.take()
