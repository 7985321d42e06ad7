"""A detector that learns in minutes: TTFNet on EfficientNet-Lite0.

Liu et al., "Training-Time-Friendly Network for Real-Time Object Detection", AAAI 2020 (arXiv
1909.00700): every cell of one fine map says for each label how near the middle of such a thing is,
and how far away the edges of the thing are. All cells near a middle learn the edges, where a DETR
teaches the one query that was matched: it takes a tenth of the pictures to find the first hand.
The interface is that of transformers' detectors; importing this module makes the model known to its
Auto classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForObjectDetection,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import ModelOutput

from pretrain.annotate.detectors.efficientnet_backbone import (
    STAGES,
    EfficientNetLite0Backbone,
    EfficientNetLite0Config,
)
from pretrain.losses.region import generalized_iou

STRIDE = 4

# The paper's: size of the Gaussian around a middle as a share of the box, and the losses' weights.
_EXTENT, _OVERLAP_WEIGHT = 0.54, 5.0
_REACH = 3.0
"""Standard deviations up to which cells learn the edges."""
_LEAST_DEVIATION = 0.35
"""Cells: the middle of a thing of one cell stands out from its neighbors, and has some."""
_EDGE_SCALE = 0.1
"""Share of the picture by which edges are away before anything is learned, about."""
_RARE = -4.6
"""Logit of one in a hundred: most cells are nothing's middle."""
_NEVER = -20.0
"""Logit of the labels that a found box does not have."""


class TTFNetConfig(PreTrainedConfig):
    """Sizes of what stands on the backbone.

    Args:
        width: channels of the maps.
        num_queries: boxes given for a picture, the surest ones.
    """

    model_type = "ttfnet"

    def __init__(self, width: int = 64, num_queries: int = 100, **kwargs: Any) -> None:
        self.width = width
        self.num_queries = num_queries
        kwargs.pop("feat_strides", None)
        self.feat_strides = [STRIDE]
        super().__init__(**kwargs)


@dataclass
class TTFNetOutput(ModelOutput):
    """As transformers' detectors answer.

    Attributes:
        loss: scalar, where labels were given.
        logits: (B, Q, labels).
        pred_boxes: (B, Q, 4), middles and sizes as shares of the picture.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    pred_boxes: torch.Tensor | None = None


class TTFNetForObjectDetection(PreTrainedModel):
    """Pictures in [0, 1] to boxes; ``labels`` as transformers' detectors take them."""

    config_class = TTFNetConfig
    base_model_prefix = "ttfnet"
    main_input_name = "pixel_values"

    def __init__(self, config: TTFNetConfig) -> None:
        super().__init__(config)
        self.backbone = EfficientNetLite0Backbone(EfficientNetLite0Config())
        width = config.width
        self.lateral = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for channels in self.backbone.channels
        )
        self.merge = nn.ModuleList(_block(width, width) for _ in STAGES[:-1])
        labels = config.num_labels
        assert labels is not None
        self.heat = nn.Sequential(_block(width, width), nn.Conv2d(width, labels, 1))
        self.edges = nn.Sequential(_block(width, width), nn.Conv2d(width, 4, 1))
        self.post_init()
        nn.init.constant_(self.heat.get_parameter("1.bias"), _RARE)

    def forward(
        self, pixel_values: torch.Tensor, labels: Sequence[dict[str, torch.Tensor]] | None = None
    ) -> TTFNetOutput:
        """Find, and learn.

        Args:
            pixel_values: float (B, 3, H, W) in [0, 1].
            labels: of each picture ``boxes`` (n, 4), middles and sizes as shares of the picture,
                and ``class_labels`` (n,).
        """
        heat, boxes = self._maps(pixel_values)
        loss = None
        if labels is not None:
            targets = [
                target_maps(one["boxes"], one["class_labels"], heat.shape[1:]) for one in labels
            ]
            loss = _loss(heat, boxes, targets)
        logits, chosen = _peaks(heat, boxes, self.config.num_queries)
        return TTFNetOutput(loss=loss, logits=logits, pred_boxes=chosen)

    def _maps(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of middles (B, labels, h, w), and corners (B, h, w, 4), both float32."""
        maps = self.backbone(pixels).feature_maps
        laterals = [layer(one) for layer, one in zip(self.lateral, maps, strict=True)]
        merged = laterals[-1]
        for lateral, merge in zip(laterals[-2::-1], reversed(self.merge), strict=True):
            size = lateral.shape[-2:]
            merged = merge(lateral + functional.interpolate(merged, size, mode="nearest"))
        heat = self.heat(merged).float()
        distance = functional.softplus(self.edges(merged).float()).mul(_EDGE_SCALE)
        distance = distance.permute(0, 2, 3, 1)
        x, y = _cell_middles(heat.shape[2], heat.shape[3], heat.device)
        middles = torch.stack([x, y], dim=-1)
        corners = torch.cat([middles - distance[..., :2], middles + distance[..., 2:]], dim=-1)
        return heat, corners


@dataclass
class TargetMaps:
    """What the maps of a picture are to be.

    Attributes:
        heat: (labels, h, w) in [0, 1], 1 in the cell of a thing's middle.
        boxes: (h, w, 4) corners of the thing that a cell learns.
        weight: (h, w), how much it learns of it; 0 for cells of nothing, 1 in sum for each thing
            that any cell learns.
    """

    heat: torch.Tensor
    boxes: torch.Tensor
    weight: torch.Tensor


def target_maps(boxes: torch.Tensor, labels: torch.Tensor, shape: Sequence[int]) -> TargetMaps:
    """Gaussians around the middles of things; where things overlap, edges are the smaller one's.

    Args:
        boxes: (n, 4) middles and sizes as shares of the picture.
        labels: int64 (n,).
        shape: labels, rows and columns of the maps.
    """
    count, height, width = shape
    device = boxes.device
    heat = torch.zeros(count, height, width, device=device)
    if not len(boxes):
        zeros = torch.zeros(height, width, device=device)
        return TargetMaps(heat, zeros[..., None].expand(-1, -1, 4), zeros)
    size = torch.tensor([width, height], device=device)
    cell = (boxes[:, :2] * size).floor().clamp(min=0).minimum(size - 1)
    deviation = (boxes[:, 2:] * size * _EXTENT / 6).clamp(min=_LEAST_DEVIATION)
    columns = torch.arange(width, device=device) - cell[:, :1]
    rows = torch.arange(height, device=device) - cell[:, 1:]
    across = (columns / deviation[:, :1]) ** 2
    down = (rows / deviation[:, 1:]) ** 2
    gaussian = torch.exp(-(down[:, :, None] + across[:, None, :]) / 2)  # (n, h, w)
    heat.scatter_reduce_(0, labels[:, None, None].expand_as(gaussian), gaussian, "amax")
    near = (down[:, :, None] <= _REACH**2) & (across[:, None, :] <= _REACH**2)
    area = boxes[:, 2:].prod(dim=1)
    owner = torch.where(near, area[:, None, None], torch.inf).argmin(dim=0)  # (h, w)
    share = torch.where(near, gaussian, 0.0).gather(0, owner[None])[0]
    total = torch.zeros(len(boxes), device=device).index_add_(0, owner.flatten(), share.flatten())
    weight = share / total.clamp(min=torch.finfo(total.dtype).eps)[owner]
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1)
    return TargetMaps(heat, corners[owner], weight)


def _loss(heat: torch.Tensor, boxes: torch.Tensor, targets: Sequence[TargetMaps]) -> torch.Tensor:
    """CornerNet's focal loss of the middles, and 1 - GIoU of the boxes; means over things."""
    wanted = torch.stack([one.heat for one in targets])
    is_middle = wanted == 1
    # In logits, so that a sure cell has a gradient as well.
    likely, unlikely = functional.logsigmoid(heat), functional.logsigmoid(-heat)
    positive = (unlikely.exp() ** 2 * likely)[is_middle].sum()
    negative = ((1 - wanted) ** 4 * likely.exp() ** 2 * unlikely)[~is_middle].sum()
    middles = -(positive + negative) / is_middle.sum().clamp(min=1)
    weight = torch.stack([one.weight for one in targets])
    overlap = generalized_iou(boxes, torch.stack([one.boxes for one in targets]))
    edges = ((1 - overlap) * weight).sum() / weight.sum().clamp(min=1)
    return middles + _OVERLAP_WEIGHT * edges


def _peaks(
    heat: torch.Tensor, boxes: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The surest cells that none of their neighbors outdoes in a label.

    Returns:
        Logits (B, count, labels) and boxes (B, count, 4), middles and sizes.
    """
    batch, labels, height, width = heat.shape
    peaks = heat.masked_fill(heat < functional.max_pool2d(heat, 3, 1, 1), _NEVER)
    score, place = peaks.flatten(1).topk(min(count, labels * height * width), dim=1)
    label, cell = place // (height * width), place % (height * width)
    logits = heat.new_full((batch, place.shape[1], labels), _NEVER)
    logits.scatter_(2, label[..., None], score[..., None])
    corners = boxes.flatten(1, 2).gather(1, cell[..., None].expand(-1, -1, 4))
    low, high = corners.chunk(2, dim=-1)
    return logits, torch.cat([(low + high) / 2, high - low], dim=-1)


def _cell_middles(
    height: int, width: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns and rows (h, w) of the cells' middles, shares of the picture."""
    x = (torch.arange(width, device=device) + 0.5) / width
    y = (torch.arange(height, device=device) + 0.5) / height
    return x.expand(height, width), y[:, None].expand(height, width)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


AutoConfig.register(TTFNetConfig.model_type, TTFNetConfig)
AutoModelForObjectDetection.register(TTFNetConfig, TTFNetForObjectDetection)
