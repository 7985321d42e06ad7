"""Boxes of hands and objects from queries, and their names: the 2D objective beside depth.

After HelpingHands (Zhang, Gupta, Zisserman, arXiv 2308.07918), where queries of a decoder over the
video's tokens predict boxes of hands and objects, and object queries are compared with the nouns of
the text. The rest is our choice. Roles are fixed where the data
knows them: one query for the left hand, one for the right; the other queries are for objects, whose
order is free (the loss tries all). Every frame has its own copy of the queries, which reads the
patches of its frame; copies of all frames read each other, so that a role keeps to one thing.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional

from pretrain.model.configuration import RegionDecoderConfig
from pretrain.model.query_decoder import MLP, QueryDecoder

HANDS = 2
"""Queries 0 and 1: the left and the right hand."""


@dataclass
class RegionPrediction:
    """What one layer of the decoder says.

    Attributes:
        boxes: float32 (B, T, R, 4): left, top, right, bottom in [0, 1] of the frame, R being the
            left hand, the right hand, then objects.
        presence: float32 (B, T, R), logits of being in the frame.
        names: float32 (B, objects, J), of length 1, in the space shared with texts; of the last
            layer of a decoder that names objects, None of others.
    """

    boxes: torch.Tensor
    presence: torch.Tensor
    names: torch.Tensor | None = None


class RegionDecoder(QueryDecoder):
    """Patch tokens of a clip to boxes in its frames.

    Args:
        config: sizes.
        channels: of a patch token.
        joint_width: channels of the space shared with texts.
    """

    def __init__(self, config: RegionDecoderConfig, channels: int, joint_width: int) -> None:
        super().__init__(
            config.width,
            config.layers,
            config.heads,
            config.feed_forward,
            HANDS + config.objects,
        )
        self.input_proj = nn.Linear(channels, config.width)
        self.box_embed = MLP(config.width, config.width, config.width, 4)
        self.presence_embed = nn.Linear(config.width, 1)
        # Last, so that the other initial weights are the same with and without it.
        self.name_embed = MLP(config.width, config.width, joint_width) if config.names else None

    def forward(self, patch_tokens: torch.Tensor) -> list[RegionPrediction]:
        """(B, T, L, D) -> predictions before the first layer and after each."""
        batch, frames = patch_tokens.shape[:2]
        memory = self.input_proj(patch_tokens).flatten(0, 1)
        roles, width = self.query_embed.weight.shape
        # A copy of the queries for each frame, told apart by its time: (T * R, D).
        times = time_signal(frames, width, patch_tokens.device)
        positions = (self.query_embed.weight + times[:, None]).flatten(0, 1)
        by_frame = positions.reshape(frames, roles, width).repeat(batch, 1, 1)
        queries = self.query_feat.weight.repeat(frames, 1).expand(batch, -1, -1)
        predictions = [self._predict(queries, frames)]
        for cross_attention, self_attention, feed_forward in self.layers():
            queries = queries.reshape(batch * frames, roles, width)
            queries = cross_attention(queries, memory, by_frame)
            queries = queries.reshape(batch, frames * roles, width)
            queries = feed_forward(self_attention(queries, positions))
            predictions.append(self._predict(queries, frames))
        if self.name_embed is not None:
            # What an object is called does not change from frame to frame.
            objects = self.decoder_norm(queries).unflatten(1, (frames, -1))[:, :, HANDS:].mean(1)
            names = functional.normalize(self.name_embed(objects).float(), dim=-1)
            predictions[-1] = replace(predictions[-1], names=names)
        return predictions

    def _predict(self, queries: torch.Tensor, frames: int) -> RegionPrediction:
        queries = self.decoder_norm(queries).unflatten(1, (frames, -1))
        center, size = self.box_embed(queries).float().sigmoid().chunk(2, dim=-1)
        boxes = torch.cat([center - size / 2, center + size / 2], dim=-1)
        return RegionPrediction(boxes, self.presence_embed(queries)[..., 0].float())


def time_signal(frames: int, width: int, device: torch.device) -> torch.Tensor:
    """Sines and cosines (T, D) of the frames' times in [0, 1], whatever their number."""
    times = torch.arange(frames, device=device) / max(frames - 1, 1)
    half = (width + 1) // 2
    rates = 2 * math.pi * 2 ** (torch.arange(half, device=device) / half * 3)
    angles = times[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]
