"""From a camera's tokens (B, L, D) to one vector (B, F)."""

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from egodtm_robot.core.errors import PoolingError
from egodtm_robot.core.principal_components import scaled_components
from policies.spec import FeatureShape

PoolingKind = Literal["principal", "mean", "grid", "flatten", "spatial_softmax", "attention"]

_FIT_ROWS = 2_048
"""Rows that principal components are fitted on; more hardly move the leading ones."""


@dataclass
class PoolingConfig:
    """How tokens become a vector; a single global token passes through unchanged."""

    kind: PoolingKind = "principal"
    """``principal``: the leading ``components`` principal components of all tokens together, fitted
    on the demonstrations: the layout is kept and there is little left to overfit. ``mean``: over
    the grid. ``grid``: averages of ``size`` x
    ``size`` cells, concatenated. ``flatten``: all tokens. ``spatial_softmax``: where each of
    ``keypoints`` learned channels is, as expected coordinates (Levine et al. 2016).
    ``attention``: ``queries`` learned queries, each a weighted mean of projected tokens."""

    components: int = 256
    """Components of ``principal``; fewer where there are fewer demonstrated steps or values."""

    size: int = 4
    """Cells a side of ``grid``. 4 keeps the layout that a fixed camera rewards; finer grids
    overfit to tens of demonstrations."""

    keypoints: int = 32
    """Channels of ``spatial_softmax``; each gives two numbers."""

    queries: int = 4
    """Queries of ``attention``; each gives ``width`` numbers."""

    width: int = 64
    """Width of the projected tokens of ``attention``."""

    def __post_init__(self) -> None:
        for name in ("components", "size", "keypoints", "queries", "width"):
            if getattr(self, name) < 1:
                raise PoolingError(
                    f"Expected policy.pooling.{name} >= 1, got {getattr(self, name)}."
                )


class Pooling(nn.Module):
    """Base of the poolings: tokens (B, L, D) to (B, ``output_dimension``)."""

    output_dimension: int

    def initialize(self, generator: torch.Generator) -> None:
        """Draw what there is to learn from ``generator``."""

    def fit(self, tokens: Tensor) -> None:
        """Take what is fitted, not learned, from demonstrated tokens (N, L, D)."""


class PrincipalComponents(Pooling):
    """Leading principal components of all tokens side by side.

    With a hundred demonstrations a head overfits to thousands of inputs: it learns the training
    episodes by heart and imitates worse than from proprioception alone. A fixed camera's features
    vary in few directions, which these are. They are not whitened, since that would lift the noise
    of the last ones to the level of the first.
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, shape: FeatureShape, components: int) -> None:
        super().__init__()
        values = shape.tokens * shape.dimension
        self.output_dimension = min(components, values)
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("directions", torch.zeros(values, self.output_dimension))

    def initialize(self, generator: torch.Generator) -> None:
        """Back to nothing; :meth:`fit` decides."""
        self.mean.zero_()
        self.directions.zero_()

    @torch.no_grad()
    def fit(self, tokens: Tensor) -> None:
        """Find the components of an even subsample of tokens (N, L, D).

        They are divided by one number, so that the mean square of a component is 1.
        """
        self.initialize(torch.Generator())
        if not self.output_dimension:
            return
        rows = tokens[:: -(-len(tokens) // _FIT_ROWS)].flatten(1).double().cpu()
        mean = rows.mean(0)
        rows = rows - mean
        # Of the two Gram matrices the smaller one; both have the same leading spectrum.
        wide = rows.shape[1] > rows.shape[0]
        values, vectors = torch.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
        kept = min(self.output_dimension, len(values))
        values, vectors = values.flip(0)[:kept].clamp_min(0), vectors.flip(1)[:, :kept]
        directions = rows.T @ vectors / values.sqrt().clamp_min(1e-12) if wide else vectors
        # A direction without variance is numerical noise of any size.
        directions = torch.where(values > 1e-9 * values[0], directions, 0.0)
        components = scaled_components(directions.numpy(), values.numpy(), count=len(rows))
        self.mean.copy_(mean.float())
        self.directions[:, :kept] = torch.from_numpy(components).float()

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) to (B, F)."""
        return (tokens.flatten(1) - self.mean) @ self.directions


class Flatten(Pooling):
    """All tokens side by side."""

    def __init__(self, shape: FeatureShape) -> None:
        super().__init__()
        self.output_dimension = shape.tokens * shape.dimension

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) to (B, F)."""
        return tokens.flatten(1)


class GridAverage(Pooling):
    """Averages over ``size`` x ``size`` cells of the grid; a coarser grid stays as it is."""

    def __init__(self, shape: FeatureShape, size: int) -> None:
        super().__init__()
        if shape.grid is None:
            raise PoolingError(
                f"Pooling over a grid needs tokens that lie on one, this encoder gives "
                f"{shape.tokens} tokens without. Choose policy.pooling.kind=flatten or attention."
            )
        self.grid = shape.grid
        self.cells = (min(size, shape.grid[0]), min(size, shape.grid[1]))
        self.output_dimension = self.cells[0] * self.cells[1] * shape.dimension

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) to (B, F)."""
        if self.cells == self.grid or tokens.shape[2] == 0:
            return tokens.reshape(tokens.shape[0], self.output_dimension)
        maps = tokens.transpose(1, 2).unflatten(2, self.grid)
        pooled = functional.adaptive_avg_pool2d(maps, self.cells)
        return pooled.flatten(2).transpose(1, 2).flatten(1)


class SpatialSoftmax(Pooling):
    """Expected image coordinates, in [-1, 1], of each learned channel.

    Levine et al., End-to-End Training of Deep Visuomotor Policies, JMLR 2016. The frozen
    encoder takes the place of their convolutions; the last one, 1 x 1, is learned here.
    """

    coordinates: Tensor

    def __init__(self, shape: FeatureShape, keypoints: int) -> None:
        super().__init__()
        if shape.grid is None:
            raise PoolingError(
                f"policy.pooling.kind=spatial_softmax needs tokens that lie on a grid, this "
                f"encoder gives {shape.tokens} tokens without. Choose flatten or attention."
            )
        self.grid = shape.grid
        self.channels = nn.Linear(shape.dimension, keypoints)
        self.output_dimension = 2 * keypoints
        self.register_buffer("coordinates", _coordinates(shape.grid))

    def initialize(self, generator: torch.Generator) -> None:
        """Draw what there is to learn from ``generator``."""
        initialize_linear(self.channels, generator)
        self.coordinates.copy_(_coordinates(self.grid))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) to (B, F)."""
        weights = self.channels(tokens).softmax(dim=1)
        return (weights.transpose(1, 2) @ self.coordinates).flatten(1)


class AttentionPooling(Pooling):
    """Learned queries over projected tokens with learned positions (attentive pooling).

    A separate key projection would be absorbed by the queries, so there is none.
    """

    def __init__(self, shape: FeatureShape, queries: int, width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(shape.dimension, width)
        self.positions = nn.Parameter(torch.zeros(shape.tokens, width))
        self.queries = nn.Parameter(torch.zeros(width, queries))
        self.output_dimension = queries * width
        self.scale = 1.0 / math.sqrt(width)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw what there is to learn from ``generator``."""
        initialize_linear(self.projection, generator)
        nn.init.normal_(self.positions, std=0.02, generator=generator)
        nn.init.normal_(self.queries, std=1.0, generator=generator)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) to (B, F)."""
        projected = self.projection(tokens) + self.positions
        weights = (projected @ self.queries * self.scale).softmax(dim=1)
        return (weights.transpose(1, 2) @ projected).flatten(1)


def make_pooling(config: PoolingConfig, shape: FeatureShape) -> Pooling:
    """The pooling that ``config`` asks for, for tokens of ``shape``.

    Raises:
        PoolingError: the encoder's tokens do not allow it.
    """
    if config.kind == "principal" and shape.tokens * shape.dimension > config.components:
        return PrincipalComponents(shape, config.components)
    if shape.tokens == 1 and shape.grid is None:
        return Flatten(shape)
    if config.kind == "principal":
        return Flatten(shape)
    if config.kind == "mean":
        return GridAverage(shape, 1)
    if config.kind == "grid":
        return GridAverage(shape, config.size)
    if config.kind == "flatten":
        return Flatten(shape)
    if config.kind == "spatial_softmax":
        return SpatialSoftmax(shape, config.keypoints)
    return AttentionPooling(shape, config.queries, config.width)


def initialize_linear(layer: nn.Linear, generator: torch.Generator) -> None:
    """PyTorch's own initialization of a linear layer, from a generator of ours."""
    bound = 1.0 / math.sqrt(max(layer.in_features, 1))
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.uniform_(cast(Tensor, layer.bias), -bound, bound, generator=generator)


def _coordinates(grid: tuple[int, int]) -> Tensor:
    """(h * w, 2) centers of the cells as (x, y) in [-1, 1], row-major."""
    rows, columns = grid
    y = (torch.arange(rows) + 0.5) * (2.0 / rows) - 1.0
    x = (torch.arange(columns) + 0.5) * (2.0 / columns) - 1.0
    return torch.stack(
        (x.repeat(rows), y.repeat_interleave(columns)),
        dim=1,
    )
