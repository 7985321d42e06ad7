"""Small heads that read depth from the patch tokens of a frozen backbone.

Both predict the natural logarithm of depth: it is positive then, and an error counts as a ratio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

ENLARGEMENT = 4
"""Cells of a depth map along the side of a token."""

PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
"""Weights of the squared norm that the linear head tries, the strongest first."""

_LEAST_SPREAD = 1e-6
_WIDTH = 32
_EPOCHS = 15
_BATCH = 16
_RATE = 3e-3
_SEED = 0


@dataclass(frozen=True)
class DepthExamples:
    """Tokens with the depth that belongs to them.

    Attributes:
        tokens: float (n, h, w, D).
        depth: float32 (n, 4 h, 4 w), positive; NaN where not known.
    """

    tokens: np.ndarray
    depth: np.ndarray

    def select(self, rows: np.ndarray) -> "DepthExamples":
        """Some of them."""
        return DepthExamples(self.tokens[rows], self.depth[rows])


class DepthHead(Protocol):
    """A head that has been fitted."""

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """Float (n, h, w, D) -> float32 (n, 4 h, 4 w), depth in the unit of its examples."""
        ...


class LinearDepth:
    """One linear map from a token to its mean log depth, enlarged bilinearly.

    Args:
        mean: float64 (D,), of the tokens that it was fitted on.
        spread: float64 (D,), their standard deviations.
        weights: float64 (D,).
        bias: the mean log depth.
    """

    def __init__(
        self, mean: np.ndarray, spread: np.ndarray, weights: np.ndarray, bias: float
    ) -> None:
        self._mean, self._spread, self._weights, self._bias = mean, spread, weights, bias

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """Float (n, h, w, D) -> float32 (n, 4 h, 4 w)."""
        logs = (tokens - self._mean) / self._spread @ self._weights + self._bias
        return _enlarged(torch.from_numpy(logs)[:, None]).exp()[:, 0].float().numpy()


def fit_linear_depth(
    examples: DepthExamples,
    validation: DepthExamples,
    penalties: Sequence[float] = PENALTIES,
) -> LinearDepth:
    """Ridge regression in closed form; the penalty with the least error on the validation.

    The error is the mean absolute one of the logarithms of depth.

    Args:
        examples: to fit on; at least one cell is known.
        validation: to choose the penalty on.
        penalties: to try, the strongest first; of equally good ones the first is taken.
    """
    rows, logs = _known_tokens(examples)
    mean, spread = rows.mean(axis=0), np.maximum(rows.std(axis=0), _LEAST_SPREAD)
    rows = (rows - mean) / spread
    bias = float(logs.mean())
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    projected = vectors.T @ (rows.T @ (logs - bias) / len(rows))
    heads = [
        LinearDepth(mean, spread, vectors @ (projected / (np.maximum(values, 0) + penalty)), bias)
        for penalty in penalties
    ]
    return min(heads, key=lambda head: _error(head, validation))


class ConvolutionalDepth(nn.Module):
    """Convolutions that enlarge the map of tokens twice by two, in the manner of DPT.

    Ranftl et al., ICCV 2021 (arXiv 2103.13413); its fusion blocks on the last layer's tokens alone.

    Args:
        tokens: float (n, h, w, D), whose mean and spread are those of its input.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, tokens: np.ndarray) -> None:
        super().__init__()
        flat = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
        self.register_buffer("mean", torch.from_numpy(flat.mean(axis=0)).float())
        spread = np.maximum(flat.std(axis=0), _LEAST_SPREAD)
        self.register_buffer("spread", torch.from_numpy(spread).float())
        self.projection = nn.Conv2d(tokens.shape[-1], _WIDTH, 1)
        self.blocks = nn.ModuleList(_Residual(_WIDTH) for _ in range(3))
        self.output = nn.Conv2d(_WIDTH, 1, 3, padding=1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Float (n, h, w, D) -> (n, 4 h, 4 w), the logarithm of depth."""
        x = self.projection(((tokens - self.mean) / self.spread).movedim(-1, 1))
        x = self.blocks[0](x)
        for block in list(self.blocks)[1:]:
            x = block(
                functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            )
        logs: torch.Tensor = self.output(x)[:, 0]
        return logs


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner: torch.Tensor = self.second(functional.relu(self.first(functional.relu(x))))
        return x + inner


class _Convolutional:
    """The head of trained convolutions."""

    def __init__(self, network: ConvolutionalDepth) -> None:
        self._network = network

    @torch.no_grad()
    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        parts = [
            self._network(torch.from_numpy(tokens[start : start + _BATCH]).float()).exp()
            for start in range(0, len(tokens), _BATCH)
        ]
        found: np.ndarray = torch.cat(parts).numpy()
        return found


def fit_convolutional_depth(
    examples: DepthExamples, validation: DepthExamples, epochs: int = _EPOCHS
) -> DepthHead:
    """Train the convolutions; the epoch with the least error on the validation is kept.

    The loss and the error are mean absolute ones of the logarithms of depth, over known cells. The
    same examples give the same head.

    Args:
        examples: to train on; at least one cell is known.
        validation: to choose the epoch on.
        epochs: passes over the examples.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network = ConvolutionalDepth(examples.tokens)
    level = float(np.nanmean(np.log(examples.depth)))
    nn.init.constant_(cast(torch.Tensor, network.output.bias), level)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-2)
    steps = epochs * -(-len(examples.tokens) // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = np.random.default_rng(_SEED)
    least, best = np.inf, {name: t.clone() for name, t in network.state_dict().items()}
    for _ in range(epochs):
        order = generator.permutation(len(examples.tokens))
        for start in range(0, len(order), _BATCH):
            part = examples.select(order[start : start + _BATCH])
            truth = torch.from_numpy(part.depth)
            known = torch.isfinite(truth)
            logs = network(torch.from_numpy(part.tokens).float())
            if known.any():
                loss = (logs[known] - truth[known].log()).abs().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
        error = _error(_Convolutional(network), validation)
        if error < least:
            least = error
            best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(best)
    return _Convolutional(network)


def _known_tokens(examples: DepthExamples) -> tuple[np.ndarray, np.ndarray]:
    """Tokens float64 (m, D) of which some depth is known, and their mean log depth (m,)."""
    n, h, w, width = examples.tokens.shape
    logs = np.log(examples.depth.astype(np.float64))
    cells = logs.reshape(n, h, ENLARGEMENT, w, ENLARGEMENT).swapaxes(2, 3).reshape(n, h, w, -1)
    known = np.isfinite(cells).any(axis=-1)
    means = np.nanmean(cells[known], axis=-1)
    return examples.tokens[known].astype(np.float64).reshape(-1, width), means


def _error(head: DepthHead, examples: DepthExamples) -> float:
    known = np.isfinite(examples.depth)
    logs = np.log(head(examples.tokens)[known]) - np.log(examples.depth[known])
    return float(np.abs(logs).mean())


def _enlarged(maps: torch.Tensor) -> torch.Tensor:
    """(n, 1, h, w) -> (n, 1, 4 h, 4 w)."""
    return functional.interpolate(
        maps, scale_factor=ENLARGEMENT, mode="bilinear", align_corners=False
    )
