"""Batches that are spread over processes: gathering with gradients, means over all of them."""

from typing import Any

import torch
from torch import distributed


def world() -> tuple[int, int]:
    """Rank and number of processes; (0, 1) without torch.distributed."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


class _Gather(torch.autograd.Function):
    """Rows of all processes in the order of their ranks; gradients are summed over processes."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        rank, size = world()
        ctx.place = (rank * len(rows), len(rows))
        parts = [torch.empty_like(rows) for _ in range(size)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        # all_reduce is the one of the possible collectives that gloo has as well.
        summed = gradients[0].contiguous()
        distributed.all_reduce(summed)
        return summed.narrow(0, *ctx.place)


def gather(rows: torch.Tensor) -> torch.Tensor:
    """Rows (n, ...) of this process -> those of all processes (N, ...), with gradients.

    Every process must bring as many rows as the others.
    """
    return rows if world()[1] == 1 else _Gather.apply(rows)


def global_mean(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """This process's share of the mean over the values of all processes that count.

    Args:
        values: (n,); those that do not count may be anything but not finite.
        counted: bool (n,).

    Returns:
        A scalar whose mean over processes is the mean; 0, with zero gradients, where nothing
        counts anywhere.
    """
    count = counted.sum().to(values.dtype)
    _, size = world()
    if size > 1:
        distributed.all_reduce(count)
    return (values * counted).sum() * size / count.clamp(min=1)
