"""Entities: patches of a clip put together step by step into a few things.

After HENASY (Vo et al., arXiv 2406.00307, NeurIPS 2024), whose code was never published.

From the paper: learned group tokens gather the tokens of patches by attention in which the groups
compete, as slot attention and GroupViT do; it happens in steps, from small parts to entities that
last through the clip; entities are compared with the nouns of the text and held to boxes, beside
the contrastive loss of videos and texts.

Our choice: two steps. The first gathers the patches of each frame into parts, the second the parts
of all frames into entities. Between them, parts read each other. Groups are chosen without noise,
so that a step of training follows from its batch alone: each token goes to its nearest group, with
the gradient of the softmax (straight-through). The paper's entities also feed its video token, and
verb phrases of a language model are compared with them; neither is here, so that all objectives
shape the same encoder and are judged on the same token.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from pretrain.model.configuration import EntityDecoderConfig
from pretrain.model.layers import FeedForward
from pretrain.model.query_decoder import (
    MLP,
    CrossAttentionLayer,
    FeedForwardLayer,
    SelfAttentionLayer,
)
from pretrain.model.region_decoder import time_signal

_TEMPERATURE = 0.1
"""Divides the cosines of tokens and groups; our choice."""


@dataclass
class EntityPrediction:
    """The entities of a batch of clips.

    Attributes:
        masks: float32 (B, T, L, E), the share of each patch that belongs to each entity; they add
            up to 1 over entities.
        names: float32 (B, E, J), of length 1, in the space shared with texts.
    """

    masks: torch.Tensor
    names: torch.Tensor


class EntityDecoder(nn.Module):
    """Patch tokens of a clip to entities.

    Args:
        config: sizes.
        channels: of a patch token.
        joint_width: channels of the space shared with texts.
    """

    def __init__(self, config: EntityDecoderConfig, channels: int, joint_width: int) -> None:
        super().__init__()
        width = config.width
        self.input_proj = nn.Linear(channels, width)
        self.parts = GroupingStage(config, config.parts)
        self.part_attention = SelfAttentionLayer(width, config.heads)
        self.entities = GroupingStage(config, config.entities)
        self.name_embed = MLP(width, width, joint_width)

    def forward(self, patch_tokens: torch.Tensor) -> EntityPrediction:
        """(B, T, L, D) -> entities."""
        batch, frames = patch_tokens.shape[:2]
        tokens = self.input_proj(patch_tokens).flatten(0, 1)
        parts, patch_shares = self.parts(tokens)
        times = time_signal(frames, parts.shape[2], parts.device)
        positions = times.repeat_interleave(parts.shape[1], dim=0)
        parts = self.part_attention(parts.reshape(batch, -1, parts.shape[2]), positions)
        entities, part_shares = self.entities(parts)
        with torch.autocast(parts.device.type, enabled=False):
            by_frame = patch_shares.unflatten(0, (batch, frames))
            masks = by_frame @ part_shares.unflatten(1, (frames, -1))
        names = functional.normalize(self.name_embed(entities).float(), dim=-1)
        return EntityPrediction(masks.clamp(0, 1), names)


class GroupingStage(nn.Module):
    """Tokens to groups: group tokens read them, then each token is given to one group.

    Args:
        config: sizes.
        groups: number of group tokens.
    """

    def __init__(self, config: EntityDecoderConfig, groups: int) -> None:
        super().__init__()
        width = config.width
        self.query_feat = nn.Embedding(groups, width)
        self.query_embed = nn.Embedding(groups, width)
        self.cross_attention = CrossAttentionLayer(width, config.heads)
        self.self_attention = SelfAttentionLayer(width, config.heads)
        self.feed_forward = FeedForwardLayer(width, config.feed_forward)
        self.norm = nn.LayerNorm(width)
        self.group_proj = nn.Linear(width, width)
        self.token_proj = nn.Linear(width, width)
        self.value_proj = nn.Linear(width, width)
        self.mlp = FeedForward(width, config.feed_forward, "gelu")
        self.mlp_norm = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Group tokens.

        Args:
            tokens: (B, L, D).

        Returns:
            Groups (B, G, D), and float32 (B, L, G), the softmax over groups that each token was
            given away by.
        """
        positions = self.query_embed.weight
        groups = self.query_feat.weight.expand(len(tokens), -1, -1)
        groups = self.cross_attention(groups, tokens, positions)
        groups = self.feed_forward(self.self_attention(groups, positions))
        values = self.norm(tokens)
        keys = functional.normalize(self.token_proj(values).float(), dim=-1)
        queries = functional.normalize(self.group_proj(groups).float(), dim=-1)
        content = self.value_proj(values).float()
        with torch.autocast(tokens.device.type, enabled=False):
            shares = (keys @ queries.mT / _TEMPERATURE).softmax(dim=-1)
            nearest = functional.one_hot(shares.argmax(dim=-1), shares.shape[-1])
            given = nearest + shares - shares.detach()
            # A group that got nothing has a mean of nothing: 0.
            means = given.mT @ content / given.sum(dim=1).clamp(min=1)[..., None]
        groups = groups + means.to(groups.dtype)
        return groups + self.mlp(self.mlp_norm(groups)), shares
