"""The text encoder: CLIP's transformer over CLIP's ids."""

import torch
from torch import nn

from egodtm_robot.core.errors import ModelInputError
from pretrain.model.configuration import TextConfig
from pretrain.model.layers import Transformer


class TextTransformer(nn.Module):
    """Ids of a text to the features of its end mark, projected to the joint space.

    Args:
        config: sizes.
        joint_width: channels of the joint space.
        gradient_checkpointing: see :class:`pretrain.model.EgoDTMConfig`.
    """

    def __init__(
        self, config: TextConfig, joint_width: int, gradient_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        width = config.width
        table_width = config.token_width or width
        self.token_embedding = nn.Embedding(config.vocabulary, table_width)
        self.token_projection = (
            None if config.token_width is None else nn.Linear(table_width, width, bias=False)
        )
        self.positional_embedding = nn.Parameter(torch.empty(config.context, width))
        self.transformer = Transformer(
            width,
            config.layers,
            config.heads,
            config.feed_forward,
            config.activation,
            config.norm_eps,
            gradient_checkpointing,
        )
        self.ln_final = nn.LayerNorm(width, eps=config.norm_eps)
        self.text_projection = nn.Parameter(torch.empty(width, joint_width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Encode texts.

        Args:
            tokens: int64 (B, context), zero behind the end mark, which is the highest id.

        Returns:
            (B, joint_width), not normalized.

        Raises:
            ModelInputError: another shape or type.
        """
        config = self.config
        if tokens.ndim != 2 or tokens.shape[1] != config.context or tokens.is_floating_point():
            raise ModelInputError(
                f"Expected ids of shape (B, {config.context}), got {tokens.dtype} of shape "
                f"{tuple(tokens.shape)}; pretrain.model.tokenizer.tokenize makes them."
            )
        end = tokens.argmax(dim=1)
        mask = None
        if config.mask_padding and len(tokens):
            # What lies behind the last end mark of the batch is seen by no token that counts. A
            # compiled model keeps it: a length that depends on the data would break its graph, and
            # be compiled again for every length.
            if not torch.compiler.is_compiling():
                tokens = tokens[:, : int(end.max()) + 1]
            places = torch.arange(tokens.shape[1], device=tokens.device)
            seen = places <= end[:, None]
            mask = seen[:, None, None, :]
            if config.causal:
                mask = mask & (places[:, None] >= places)
        embedded = self.token_embedding(tokens)
        if self.token_projection is not None:
            embedded = self.token_projection(embedded)
        embedded = embedded + self.positional_embedding[: tokens.shape[1]]
        hidden = self.transformer(embedded, mask, causal=config.causal and mask is None)
        rows = torch.arange(len(tokens), device=tokens.device)
        return self.ln_final(hidden[rows, end]) @ self.text_projection
