"""A TimeSformer and a text encoder that put videos and texts into one space."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from pretrain.model.configuration import TextConfig
from pretrain.model.language_model import LanguageModelText
from pretrain.model.text import TextTransformer
from pretrain.model.timesformer import TimeSformer
from pretrain.model.tokenizer import tokenize


class ClipText(nn.Module):
    """CLIP's text encoder over texts instead of ids. The parameters have no values at first.

    Args:
        config: sizes and settings.
        joint_width: channels of the joint space.
    """

    def __init__(self, config: TextConfig, joint_width: int) -> None:
        super().__init__()
        with torch.device("meta"):
            self.model = TextTransformer(config, joint_width)

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """B texts -> (B, joint_width), not normalized."""
        tokens = tokenize(texts, self.model.config.context)
        embedded: torch.Tensor = self.model(tokens.to(self.model.text_projection.device))
        return embedded


class DualEncoder(nn.Module):
    """The union of both encoders and of the projections to the space that they share.

    Args:
        visual: video encoder.
        textual: text encoder; None for a model that has seen no texts.
        video_projection: from the class token; None for a model without a joint space.
        text_projection: from the text encoder; None where that one projects by itself.
    """

    def __init__(
        self,
        visual: TimeSformer,
        textual: ClipText | LanguageModelText | None,
        video_projection: nn.Module | None,
        text_projection: nn.Module | None,
    ) -> None:
        super().__init__()
        self.visual = visual
        self.textual = textual
        self.video_projection = video_projection
        self.text_projection = text_projection

    def embed_video(self, class_token: torch.Tensor) -> torch.Tensor:
        """Class tokens (B, D) -> (B, J), of length 1."""
        assert self.video_projection is not None, "a model without a joint space was asked for it"
        return functional.normalize(self.video_projection(class_token), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """B texts -> (B, J), of length 1."""
        assert self.textual is not None, "a model without a text encoder was asked for texts"
        embedded = self.textual(texts)
        if self.text_projection is not None:
            embedded = self.text_projection(embedded)
        return functional.normalize(embedded, dim=-1)


def projection(shapes: Mapping[str, tuple[int, ...]]) -> nn.Sequential:
    """The layers that tensors by names such as ``1.weight`` are of: linear ones by their numbers.

    Published projections are numbered; a number without weights is a ReLU, which has none.

    Args:
        shapes: of the tensors; their names begin with the number of the layer.
    """
    numbers = {int(name.split(".")[0]) for name in shapes}
    layers: list[nn.Module] = []
    with torch.device("meta"):
        for number in range(max(numbers) + 1):
            if number in numbers:
                outputs, inputs = shapes[f"{number}.weight"]
                layers.append(nn.Linear(inputs, outputs, bias=f"{number}.bias" in shapes))
            else:
                layers.append(nn.ReLU())
    return nn.Sequential(*layers)
