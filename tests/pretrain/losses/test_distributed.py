"""Two processes with half of the batch each have the loss and the gradients of one with all."""

from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing
from torch.nn import functional

from pretrain.losses import (
    DepthLossConfig,
    DepthTarget,
    RegionTarget,
    contrastive_loss,
    depth_loss,
    name_loss,
    region_loss,
)
from pretrain.model.depth_decoder import DepthPrediction
from pretrain.model.region_decoder import RegionPrediction

CLIPS = 6


def losses(weights: torch.Tensor, rows: slice) -> torch.Tensor:
    """The losses of some rows of a fixed batch, by a model of one matrix."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(CLIPS, 8, generator=generator, dtype=torch.float64)
    texts = torch.randn(CLIPS, 4, generator=generator, dtype=torch.float64)
    truth = torch.rand(CLIPS, 1, 2, 2, generator=generator, dtype=torch.float64)
    valid = torch.ones(CLIPS, 1, 2, 2, dtype=torch.bool)
    valid[[1, 2, 4]] = False  # one of three clips has depth in one process, two in the other
    groups = torch.tensor([0, 1, 2, 0, 3, 1])
    hidden = inputs[rows] @ weights
    video, text = (functional.normalize(v, dim=-1) for v in (hidden, texts[rows]))
    depth = hidden.sigmoid().reshape(-1, 1, 2, 2)
    boxes = torch.cat([hidden[:, :2], hidden[:, :2] + hidden[:, 2:].exp()], dim=-1)
    boxes = boxes[:, None, None].expand(-1, 1, 2, -1)
    targets = (truth[:, :, :1] * torch.tensor([1, 2, 3, 4])[:, None]).reshape(CLIPS, -1)[:, :4]
    regions = RegionTarget(
        targets[rows, None, None].expand(-1, 1, 2, -1),
        valid[rows, :, 0],
        valid[rows, 0, 0, 0],
    )
    scale = torch.tensor(5.0, dtype=torch.float64)
    actions = torch.tensor([[1, 5], [1, 5], [2, 5], [1, 5], [2, 6], [2, 5]])
    # Two predictions and a noun a clip; two of three clips have one in the first process.
    nouns = torch.tensor([3, 0, 4, 4, 3, 7])[:, None]
    things = torch.stack([video, video.flip(1)], dim=1)
    return torch.stack(
        [
            contrastive_loss(video, text, scale, groups[rows], elements=7),
            depth_loss(
                [DepthPrediction(depth, hidden)],
                DepthTarget(truth[rows], valid[rows]),
                DepthLossConfig(gradient=1.0),
            ),
            region_loss([RegionPrediction(boxes, hidden[:, None, :2])], regions),
            contrastive_loss(video, text, scale, elements=7, actions=actions[rows]),
            name_loss(things, text[:, None], nouns[rows] > 0, nouns[rows], scale),
        ]
    )


def weights() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 4, generator=generator, dtype=torch.float64).requires_grad_()


def share(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    own = weights()
    values = losses(own, slice(3 * rank, 3 * rank + 3))
    gradients = [torch.autograd.grad(v, own, retain_graph=True)[0] for v in values]
    torch.save([values.detach(), torch.stack(gradients)], f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_have_the_loss_and_gradients_of_one(tmp_path: Path):
    multiprocessing.spawn(share, (str(tmp_path),), nprocs=2)
    parts: list[Any] = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    one = weights()
    expected = losses(one, slice(None))
    gradients = torch.stack([torch.autograd.grad(v, one, retain_graph=True)[0] for v in expected])
    torch.testing.assert_close((parts[0][0] + parts[1][0]) / 2, expected.detach())
    torch.testing.assert_close((parts[0][1] + parts[1][1]) / 2, gradients)
