"""Boxes of hands and objects: the 2D objective that depth is compared with.

Hands have queries of their own. Objects have no order, so the order of the object queries that
costs least is taken for each clip; one order for all of its frames, because a track is one thing.
There are so few of them that all orders are tried, which gives what Hungarian matching gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from egodtm_robot.core.errors import ModelInputError
from pretrain.losses.distributed import global_mean
from pretrain.model.region_decoder import HANDS, RegionPrediction

# DETR's weights.
_CORNERS, _OVERLAP, _PRESENCE = 5.0, 2.0, 1.0

_LEFT, _RIGHT = 1, 2


class ClipBoxes(Protocol):
    """What is read of a clip's boxes, see ``pretrain.clips.clip.Boxes``."""

    frame: np.ndarray
    track: np.ndarray
    category: list[str]
    side: np.ndarray
    contact: np.ndarray
    xyxy: np.ndarray


@dataclass
class RegionTarget:
    """What predictions are compared with.

    Attributes:
        boxes: float32 (B, T, R, 4): left, top, right, bottom in [0, 1]; the left hand, the right
            hand, then objects. 0 where absent.
        present: bool (B, T, R).
        labeled: bool (B,), whether a clip's boxes are known at all.
    """

    boxes: torch.Tensor
    present: torch.Tensor
    labeled: torch.Tensor


def region_target(clips: Sequence[ClipBoxes | None], frames: int, objects: int) -> RegionTarget:
    """Arrange the boxes of clips by role.

    Of more objects than there are queries for, those are kept that are touched in most frames, then
    those seen in most, then those of the lowest track. Of several boxes of a hand in a frame the
    first is kept.

    Args:
        clips: boxes of each clip; None where they are not known.
        frames: T.
        objects: object queries of the model.
    """
    roles = HANDS + objects
    boxes = np.zeros((len(clips), frames, roles, 4), np.float32)
    present = np.zeros((len(clips), frames, roles), bool)
    for index, clip in enumerate(clips):
        if clip is None:
            continue
        hand = np.array([name == "hand" for name in clip.category], bool)
        role = np.full(len(clip.category), -1)
        role[hand & (clip.side == _LEFT)] = 0
        role[hand & (clip.side == _RIGHT)] = 1
        for place, track in enumerate(_chosen_tracks(clip, ~hand)[:objects]):
            role[~hand & (clip.track == track)] = HANDS + place
        for row in np.flatnonzero(role >= 0):
            where = (index, int(clip.frame[row]), int(role[row]))
            if not present[where]:
                boxes[where] = clip.xyxy[row]
                present[where] = True
    labeled = torch.tensor([clip is not None for clip in clips], dtype=torch.bool)
    return RegionTarget(torch.from_numpy(boxes), torch.from_numpy(present), labeled)


def region_loss(predictions: Sequence[RegionPrediction], target: RegionTarget) -> torch.Tensor:
    """Sum over layers of the mean over labeled clips of corner, overlap and presence losses.

    Absolute corner differences times 5 and 1 - GIoU times 2, means over the boxes that are there,
    and the binary cross-entropy of presence.

    Args:
        predictions: of all layers.
        target: of the same clips.

    Returns:
        A scalar, see :mod:`pretrain.losses`; 0 if no clip is labeled.

    Raises:
        ModelInputError: predictions and target differ in shape.
    """
    total = target.boxes.new_zeros(())
    for prediction in predictions:
        if prediction.boxes.shape != target.boxes.shape:
            raise ModelInputError(
                f"Expected region targets of shape {tuple(prediction.boxes.shape)}, got "
                f"{tuple(target.boxes.shape)}; region_target arranges them."
            )
        total = total + global_mean(_clip_losses(prediction, target), target.labeled)
    return total


def _clip_losses(prediction: RegionPrediction, target: RegionTarget) -> torch.Tensor:
    """(B,) losses, with the object queries in the order that costs least."""
    costs = _pair_costs(prediction, target)
    hands = costs[:, :HANDS, :HANDS].diagonal(dim1=1, dim2=2).sum(dim=1)
    places = torch.arange(HANDS, costs.shape[1], device=costs.device)
    orders = torch.tensor(list(permutations(places.tolist())), device=costs.device).long()
    by_order = costs[:, orders, places].sum(dim=2)
    return hands + by_order.amin(dim=1)


def _pair_costs(prediction: RegionPrediction, target: RegionTarget) -> torch.Tensor:
    """(B, R, R): what query i adds to a clip's loss if it is taken for target j."""
    boxes, wanted = prediction.boxes[:, :, :, None], target.boxes[:, :, None]
    present = target.present[:, :, None]
    corners = (boxes - wanted).abs().sum(dim=-1)
    overlap = 1 - generalized_iou(boxes, wanted)
    per_box = torch.where(present, _CORNERS * corners + _OVERLAP * overlap, 0.0)
    number = target.present.flatten(1).sum(dim=1).clamp(min=1)
    located = per_box.sum(dim=1) / number[:, None, None]
    logits = prediction.presence[:, :, :, None].expand_as(per_box)
    presence = functional.binary_cross_entropy_with_logits(
        logits, present.expand_as(per_box).to(logits.dtype), reduction="none"
    )
    frames, roles = target.present.shape[1:]
    return located + _PRESENCE * presence.sum(dim=1) / (frames * roles)


def generalized_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union, less the share of the common hull that is empty: (..., 4) -> (...).

    In [-1, 1]; finite for boxes without area.
    """
    corner = torch.maximum(first[..., :2], second[..., :2])
    opposite = torch.minimum(first[..., 2:], second[..., 2:])
    intersection = (opposite - corner).clamp(min=0).prod(dim=-1)
    union = _area(first) + _area(second) - intersection
    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(
        first[..., :2], second[..., :2]
    )
    hull_area = hull.prod(dim=-1)
    smallest = torch.finfo(first.dtype).eps
    return intersection / (union + smallest) - (hull_area - union) / (hull_area + smallest)


def _area(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def _chosen_tracks(clip: ClipBoxes, objects: np.ndarray) -> list[int]:
    """Tracks of objects, the most important ones first."""
    tracks = [int(track) for track in np.unique(clip.track[objects])]

    def importance(track: int) -> tuple[int, int, int]:
        rows = objects & (clip.track == track)
        return (-int(clip.contact[rows].sum()), -int(rows.sum()), track)

    return sorted(tracks, key=importance)
