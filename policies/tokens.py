"""What transformers and denoisers read of the last frames: a few numbers a token of each camera.

With tens of demonstrations a policy that reads all that an encoder gives learns the training
episodes by sight. Every token therefore passes a narrow bottleneck, noisy while training, as an
MLP's pooled vector does (:mod:`policies.bottleneck`). All in front of it is fitted, not learned,
and computed once for each frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from egodtm_robot.core.errors import ConfigurationError
from policies.attention import grid_positions
from policies.bottleneck import NARROW, Bottleneck
from policies.normalization import Standardizer
from policies.pooling import Flatten, GridAverage, Pooling, PrincipalComponents
from policies.spec import FEATURES_PREFIX, PROPRIOCEPTION, FeatureShape, PolicySpec

TokenKind = Literal["grid", "principal"]


@dataclass
class TokensConfig:
    """Which tokens of a camera a policy reads, and how much each may tell."""

    kind: TokenKind = "principal"
    """``grid``: averages of ``size`` x ``size`` cells of the encoder's grid, each a token with its
    position; tokens that lie on no grid are taken as they are. ``principal``: one token, the
    leading ``components`` principal components of all tokens together, as ``policy=mlp`` reads
    them."""

    size: int = 3
    """Cells a side of ``grid``; a coarser grid stays as it is."""

    components: int = 256
    """Components of ``principal``; fewer where there are fewer values or demonstrated steps."""

    bottleneck: int = 4
    """Numbers that each token passes on, where a camera has more than 64 values in all; 0 passes on
    the token itself."""

    bottleneck_noise: float = 0.3
    """Deviation of the Gaussian noise on those numbers in training."""

    def __post_init__(self) -> None:
        for name in ("size", "components"):
            if getattr(self, name) < 1:
                raise ConfigurationError(
                    f"Expected policy.tokens.{name} >= 1, got {getattr(self, name)}."
                )
        if self.bottleneck < 0 or not 0 <= self.bottleneck_noise < float("inf"):
            raise ConfigurationError(
                "Expected policy.tokens.bottleneck >= 0 and a finite policy.tokens."
                f"bottleneck_noise >= 0, got {self.bottleneck} and {self.bottleneck_noise}."
            )


class ObservationTokens(nn.Module):
    """Standardized proprioception and a few numbers a token of each stream of features.

    Args:
        config: which tokens.
        spec: shapes of what is observed. Streams without a channel (an encoder that sees nothing)
            are left out.

    Attributes:
        names: of the streams that are read.
        counts: tokens a frame of each.
        widths: numbers a token of each.
    """

    def __init__(self, config: TokensConfig, spec: PolicySpec) -> None:
        super().__init__()
        streams = {name: shape for name, shape in spec.features.items() if shape.dimension}
        self.names = list(streams)
        self.proprioception = Standardizer(spec.proprioception)
        self.scales = nn.ModuleList(Standardizer(shape.dimension) for shape in streams.values())
        self.poolings = nn.ModuleList(_pooling(config, shape) for shape in streams.values())
        self.grids = [_grid(config, shape) for shape in streams.values()]
        self.counts: list[int] = []
        self.widths: list[int] = []
        self.bottlenecks = nn.ModuleDict()
        for index, (shape, pooling) in enumerate(zip(streams.values(), self.poolings, strict=True)):
            assert isinstance(pooling, Pooling)
            one = isinstance(pooling, PrincipalComponents) or config.kind == "principal"
            count = 1 if one else pooling.output_dimension // shape.dimension
            width = pooling.output_dimension // count
            if config.bottleneck and pooling.output_dimension > NARROW:
                # Streams are numbered: a camera's name need not be a legal module name.
                self.bottlenecks[str(index)] = Bottleneck(
                    width, config.bottleneck, config.bottleneck_noise
                )
                width = config.bottleneck
            self.counts.append(count)
            self.widths.append(width)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the bottlenecks from ``generator``."""
        for bottleneck in self.bottlenecks.values():
            assert isinstance(bottleneck, Bottleneck)
            bottleneck.initialize(generator)

    def fit_statistics(self, observation: Mapping[str, Tensor]) -> None:
        """Take the statistics of all demonstrated frames (N, ...)."""
        self.proprioception.fit(observation[PROPRIOCEPTION])
        for name, scale, pooling in zip(self.names, self.scales, self.poolings, strict=True):
            assert isinstance(scale, Standardizer)
            assert isinstance(pooling, Pooling)
            features = observation[FEATURES_PREFIX + name]
            scale.fit(features, shared_scale=True)
            pooling.fit(scale(features))

    def precompute(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All that is fixed: standardized proprioception (B, P), and tokens (B, l, d) by stream."""
        frames = {PROPRIOCEPTION: self.proprioception(observation[PROPRIOCEPTION])}
        for index, name in enumerate(self.names):
            features = self.scales[index](observation[FEATURES_PREFIX + name])
            pooled = self.poolings[index](features)
            frames[f"tokens/{index}"] = pooled.unflatten(1, (self.counts[index], -1))
        return frames

    def numbers(
        self, frames: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> list[Tensor]:
        """What each token tells, (B, T, l, k) for each stream.

        Args:
            frames: (B, T, ...) of what :meth:`precompute` gives.
            generator: draws the bottlenecks' noise in training mode; None for none.
        """
        told = []
        for index in range(len(self.names)):
            tokens = frames[f"tokens/{index}"]
            if str(index) in self.bottlenecks:
                tokens = self.bottlenecks[str(index)](tokens, generator)
            told.append(tokens)
        return told

    @property
    def vector_dimension(self) -> int:
        """Numbers that :meth:`vector` gives of each frame."""
        told = sum(count * width for count, width in zip(self.counts, self.widths, strict=True))
        return self.proprioception.mean.numel() + told

    def vector(
        self, frames: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Tensor:
        """All side by side, (B, T * ``vector_dimension``); see :meth:`numbers`."""
        told = [numbers.flatten(2) for numbers in self.numbers(frames, generator)]
        return torch.cat([frames[PROPRIOCEPTION], *told], dim=2).flatten(1)


class TokenEmbedding(nn.Module):
    """Tokens for a transformer: of each frame its proprioception, then its cameras' tokens.

    A camera's tokens know their place on its grid, and every token its frame and its stream.

    Args:
        tokens: what is read.
        history: T.
        width: W.
    """

    def __init__(self, tokens: ObservationTokens, history: int, width: int) -> None:
        super().__init__()
        self.proprioception = nn.Linear(tokens.proprioception.mean.numel(), width)
        self.streams = nn.ModuleList(nn.Linear(numbers, width) for numbers in tokens.widths)
        self.places = nn.ParameterDict()
        for index, (grid, count) in enumerate(zip(tokens.grids, tokens.counts, strict=True)):
            if grid is not None and count > 1:
                self.register_buffer(f"grid_{index}", grid_positions(*grid, width))
            elif count > 1:
                self.places[str(index)] = nn.Parameter(0.02 * torch.randn(count, width))
        # The first stream is the proprioception. With one frame its number says nothing.
        self.kinds = nn.Parameter(0.02 * torch.randn(1 + len(tokens.names), width))
        self.frames = nn.Parameter(0.02 * torch.randn(history, width)) if history > 1 else None

    def forward(self, proprioception: Tensor, numbers: list[Tensor]) -> Tensor:
        """Embed (B, T, P) and (B, T, l, k) by stream as (B, T * (1 + sum of l), W)."""
        parts = [(self.proprioception(proprioception) + self.kinds[0])[:, :, None]]
        for index, told in enumerate(numbers):
            embedded = self.streams[index](told) + self.kinds[1 + index]
            place = getattr(self, f"grid_{index}", None)
            if place is None and str(index) in self.places:
                place = self.places[str(index)]
            parts.append(embedded if place is None else embedded + place)
        tokens = torch.cat(parts, dim=2)
        if self.frames is not None:
            tokens = tokens + self.frames[:, None]
        return tokens.flatten(1, 2)


def _pooling(config: TokensConfig, shape: FeatureShape) -> Pooling:
    if config.kind == "principal":
        if shape.tokens * shape.dimension > config.components:
            return PrincipalComponents(shape, config.components)
        return Flatten(shape)
    return Flatten(shape) if shape.grid is None else GridAverage(shape, config.size)


def _grid(config: TokensConfig, shape: FeatureShape) -> tuple[int, int] | None:
    if config.kind == "principal" or shape.grid is None:
        return None
    return min(config.size, shape.grid[0]), min(config.size, shape.grid[1])
