"""Objectives of pretraining.

Every loss is a mean over the clips of the global batch. A process returns its own share, scaled so
that the mean over processes, which DistributedDataParallel takes of the gradients, is the loss and
the gradient that one process would get from the whole batch.
"""

from pretrain.losses.contrastive import contrastive_loss, text_groups
from pretrain.losses.depth import DepthLossConfig, DepthTarget, depth_loss, depth_target
from pretrain.losses.entities import projection_loss
from pretrain.losses.names import name_loss
from pretrain.losses.region import RegionTarget, region_loss, region_target

__all__ = [
    "DepthLossConfig",
    "DepthTarget",
    "RegionTarget",
    "contrastive_loss",
    "depth_loss",
    "depth_target",
    "name_loss",
    "projection_loss",
    "region_loss",
    "region_target",
    "text_groups",
]
