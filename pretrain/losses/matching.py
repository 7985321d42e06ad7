"""Which prediction stands for which thing, where the data give no order."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment


def assign(costs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Give every wanted thing of a clip a prediction of its own, at the least cost in all.

    Args:
        costs: (B, things, predictions), finite where a thing is wanted, without gradients.
        wanted: bool (B, things), at most as many a clip as there are predictions.

    Returns:
        int64 (B, things), the prediction of each thing; 0 where it is not wanted.
    """
    chosen = np.zeros(wanted.shape, np.int64)
    numbers, kept = costs.detach().float().cpu().numpy(), wanted.cpu().numpy()
    for clip in range(len(numbers)):
        rows = np.flatnonzero(kept[clip])
        own, predictions = linear_sum_assignment(numbers[clip, rows])
        chosen[clip, rows[own]] = predictions
    return torch.from_numpy(chosen).to(costs.device)
