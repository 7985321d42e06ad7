"""DistilBERT and RoBERTa as text encoders of video-text models, computed by transformers."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from egodtm_robot.core.errors import CheckpointMismatchError, ConfigurationError
from egodtm_robot.core.published_models.matching import layer_count

Kind = Literal["distilbert", "roberta"]

_HEAD_CHANNELS = 64
"""Of both models, in every published size."""


class LanguageModelText(nn.Module):
    """Texts to the features of their first token.

    Args:
        kind: of model.
        shapes: of its tensors by transformers' names; they tell its sizes.
        tokenizer: of transformers; None for a model that is not shown any texts.
        context: tokens that a text has at most; what does not fit is cut off.

    Raises:
        CheckpointMismatchError: a tensor that tells a size is missing.
        ConfigurationError: the tokenizer knows more tokens than the model.
    """

    def __init__(
        self,
        kind: Kind,
        shapes: dict[str, tuple[int, ...]],
        tokenizer: Any | None,
        context: int,
    ) -> None:
        super().__init__()
        try:
            self.vocabulary, self.width = shapes["embeddings.word_embeddings.weight"]
            # Values are drawn and thrown away: some buffers exist in memory only.
            with torch.random.fork_rng(devices=[]):
                self.model = _distilbert(shapes) if kind == "distilbert" else _roberta(shapes)
        except (KeyError, ValueError) as error:
            raise CheckpointMismatchError(
                f"Expected a {kind} whose tensors tell its sizes, got none of the name or shape of "
                f"{error}."
            ) from error
        self.context = context
        self.tokenizer = tokenizer
        if tokenizer is not None and len(tokenizer) > self.vocabulary:
            raise ConfigurationError(
                f"Expected the tokenizer of a {kind} of {self.vocabulary} tokens, got one of "
                f"{len(tokenizer)}. Name the tokenizer that the model was trained with."
            )

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """B texts -> (B, width)."""
        assert self.tokenizer is not None, "a model without its tokenizer was asked for texts"
        tokens = self.tokenizer(
            list(texts),
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=self.context,
        )
        device = next(self.model.parameters()).device
        hidden = self.model(
            input_ids=tokens["input_ids"].to(device),
            attention_mask=tokens["attention_mask"].to(device),
        ).last_hidden_state
        first: torch.Tensor = hidden[:, 0]
        return first


def _distilbert(shapes: dict[str, tuple[int, ...]]) -> nn.Module:
    from transformers import DistilBertConfig, DistilBertModel

    vocabulary, width = shapes["embeddings.word_embeddings.weight"]
    config = DistilBertConfig(
        vocab_size=vocabulary,
        max_position_embeddings=shapes["embeddings.position_embeddings.weight"][0],
        n_layers=layer_count(shapes, r"transformer\.layer\.(\d+)\."),
        n_heads=max(1, width // _HEAD_CHANNELS),
        dim=width,
        hidden_dim=shapes["transformer.layer.0.ffn.lin1.weight"][0],
    )
    return DistilBertModel(config).eval()


def _roberta(shapes: dict[str, tuple[int, ...]]) -> nn.Module:
    from transformers import RobertaConfig, RobertaModel

    vocabulary, width = shapes["embeddings.word_embeddings.weight"]
    config = RobertaConfig(
        vocab_size=vocabulary,
        max_position_embeddings=shapes["embeddings.position_embeddings.weight"][0],
        type_vocab_size=shapes["embeddings.token_type_embeddings.weight"][0],
        num_hidden_layers=layer_count(shapes, r"encoder\.layer\.(\d+)\."),
        num_attention_heads=max(1, width // _HEAD_CHANNELS),
        hidden_size=width,
        intermediate_size=shapes["encoder.layer.0.intermediate.dense.weight"][0],
        # Those of roberta-base; transformers' own defaults are BERT's.
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    return RobertaModel(config, add_pooling_layer=False).eval()
