"""How far predicted features are from another model's."""

import torch
from torch.nn import functional

COSINE, DISTANCE = 0.9, 0.1
"""Weights of the two parts of the loss, Theia's (arXiv 2407.20179)."""


def feature_loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """0.9 times one minus the cosine, and 0.1 times the smooth L1 distance.

    Theia's code compares whole maps by one cosine; here every patch has its own, so that no patch
    can make up for another.

    Args:
        predicted: (..., L, D).
        target: (..., L, D), standardized by channel: channels of a network differ in size by
            orders of magnitude, and the largest would be all that counts.

    Returns:
        Scalar in float32.
    """
    predicted, target = predicted.float(), target.float()
    cosine = 1 - functional.cosine_similarity(predicted, target, dim=-1).mean()
    return COSINE * cosine + DISTANCE * functional.smooth_l1_loss(predicted, target)


def standardized(features: torch.Tensor) -> torch.Tensor:
    """Features (..., D) in float32 with mean 0 and deviation 1 by channel over all the rest.

    In a training of many processes that is each process's own share of the batch.
    """
    values = features.float()
    over = tuple(range(values.ndim - 1))
    mean = values.mean(over, keepdim=True)
    deviation = values.std(over, keepdim=True, unbiased=False)
    # A channel that never changes stays 0.
    return (values - mean) / deviation.clamp(min=1e-6)
