"""Parameters in groups of their own weight decay and learning rate.

States to resume from number the parameters in the order of the groups: a change of the order makes
older states unreadable.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

NamedParameters = Iterable[tuple[str, nn.Parameter]]


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter multiplies features, unlike biases and the scales of norms."""
    del name
    return parameter.ndim > 1


def parameter_groups(
    parameters: NamedParameters,
    weight_decay: float,
    *,
    rate_share: float = 1.0,
    decays: Callable[[str, nn.Parameter], bool] = is_matrix,
) -> list[dict[str, Any]]:
    """Split the parameters of one part of a model by whether they decay.

    Groups of several parts are concatenated::

        groups = parameter_groups(head, 0.05) + parameter_groups(stem, 0.05, rate_share=0.1)
        optimizer = torch.optim.AdamW(groups, lr=1e-3)

    Args:
        parameters: of the part, with their names; frozen ones are left out.
        weight_decay: of the parameters that decay; 0 for all others.
        rate_share: learning rate of the part as a share of the run's, kept in the groups under
            this name for :func:`set_learning_rate`.
        decays: chooses the parameters that decay, by name and parameter.

    Returns:
        The group that decays, then the group that does not; empty groups are left out.
    """
    decayed: list[nn.Parameter] = []
    constant: list[nn.Parameter] = []
    for name, parameter in parameters:
        if parameter.requires_grad:
            (decayed if decays(name, parameter) else constant).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "rate_share": rate_share}
        for members, decay in ((decayed, weight_decay), (constant, 0.0))
        if members
    ]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group of :func:`parameter_groups` its share of the rate.

    Args:
        optimizer: of such groups.
        rate: the run's learning rate at this step.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_share"]
