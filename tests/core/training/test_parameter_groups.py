"""Weight decay on matrices alone, and learning rates by parts."""

import pytest
import torch
from torch import nn

from egodtm_robot.core.training.parameter_groups import parameter_groups, set_learning_rate


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))


def test_matrices_decay_and_come_first():
    net = network()
    decayed, constant = parameter_groups(net.named_parameters(), 0.1)
    assert [id(p) for p in decayed["params"]] == [id(net[0].weight), id(net[2].weight)]
    assert [id(p) for p in constant["params"]] == [
        id(p) for p in (net[0].bias, net[1].weight, net[1].bias)
    ]
    assert (decayed["weight_decay"], constant["weight_decay"]) == (0.1, 0.0)


def test_a_model_says_itself_what_decays():
    net = network()
    decayed, constant = parameter_groups(
        net.named_parameters(), 0.1, decays=lambda name, p: p.ndim > 1 and name.startswith("0.")
    )
    assert len(decayed["params"]) == 1
    assert len(constant["params"]) == 4


def test_frozen_parameters_and_empty_groups_are_left_out():
    net = network()
    net[0].weight.requires_grad_(False)
    net[2].weight.requires_grad_(False)
    (only,) = parameter_groups(net.named_parameters(), 0.1)
    assert only["weight_decay"] == 0
    assert len(only["params"]) == 3


def test_each_part_takes_its_share_of_the_rate():
    net = network()
    groups = [
        *parameter_groups(net[0].named_parameters(), 0.0),
        *parameter_groups(net[2].named_parameters(), 0.0, rate_share=0.25),
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    set_learning_rate(optimizer, 0.5)
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    net(torch.randn(8, 3, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    optimizer.step()
    # Adam's first step is the rate itself wherever there is a gradient.
    for name, rate in (("0.weight", 0.5), ("0.bias", 0.5), ("2.weight", 0.125)):
        moved = (net.get_parameter(name) - before[name]).abs().max().item()
        assert moved == pytest.approx(rate, rel=1e-3), name
    assert torch.equal(net[1].weight, before["1.weight"])
