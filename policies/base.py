"""What every policy keeps: the shapes it reads and Stable-Baselines3's ``predict`` contract."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from egodtm_robot.core.errors import ObservationError
from policies.normalization import Standardizer

PROPRIOCEPTION = "proprioception"
"""Key of the robot's own state in an observation."""

FEATURES_PREFIX = "features/"
"""Observations are flat mappings, ``features/<camera>`` for each camera, because the dictionary
spaces of Stable-Baselines3's vectorised environments do not nest."""

INFERENCE_BATCH = 16
"""Rows a forward pass always has. Matrix products choose their kernel, and so their rounding, by
shape: with one shape, an episode's actions cannot depend on how many run beside it."""

PolicyState = dict[str, np.ndarray]
"""What a policy remembers between steps; every array has one row an environment."""


@dataclass(frozen=True)
class FeatureShape:
    """Shape of the features of one camera: (L, D) tokens.

    A grid (h, w) says that the tokens lie on it in row-major order from the top left.
    """

    tokens: int
    dimension: int
    grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.dimension < 0:
            raise ValueError(f"Expected tokens >= 1 and dimension >= 0, got {self}.")
        if self.grid is not None and self.tokens != self.grid[0] * self.grid[1]:
            raise ValueError(f"Expected {self.grid[0]} x {self.grid[1]} tokens, got {self.tokens}.")


@dataclass(frozen=True)
class PolicySpec:
    """What a policy reads and writes.

    Attributes:
        proprioception: length P of the robot's own state.
        actions: length A of an action.
        features: shape of each camera's features, in the order in which they are concatenated.
    """

    proprioception: int
    actions: int
    features: Mapping[str, FeatureShape]

    def __post_init__(self) -> None:
        if self.proprioception < 0 or self.actions < 1:
            raise ValueError(f"Expected proprioception >= 0 and actions >= 1, got {self}.")

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and strings, for a checkpoint."""
        return {
            "proprioception": self.proprioception,
            "actions": self.actions,
            "features": {
                camera: {
                    "tokens": shape.tokens,
                    "dimension": shape.dimension,
                    "grid": list(shape.grid) if shape.grid is not None else None,
                }
                for camera, shape in self.features.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PolicySpec":
        """Inverse of :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: ``data`` does not describe a specification.
        """
        features = {}
        for camera, shape in data["features"].items():
            grid = shape["grid"]
            features[str(camera)] = FeatureShape(
                tokens=int(shape["tokens"]),
                dimension=int(shape["dimension"]),
                grid=(int(grid[0]), int(grid[1])) if grid is not None else None,
            )
        return cls(int(data["proprioception"]), int(data["actions"]), features)


class Policy(nn.Module, ABC):
    """A policy in two stages, so that training can do the first one once.

    :meth:`embed` turns one frame's observation into a vector (B, F); :meth:`forward` maps the
    vectors of the last ``history`` frames, concatenated oldest first, to ``chunk`` standardised
    actions. :meth:`predict` adds memory, the actions' units and the limits [-1, 1].

    Attributes:
        spec: what is read and written.
        history: frames k that an action is computed from; an episode's first is repeated.
        chunk: actions C planned at once and executed before the next plan.
        embedding_dimension: F.
        embedding_is_fixed: whether :meth:`embed` has nothing to learn.
        action_statistics: mean and deviation of the demonstrated actions.
    """

    kind: ClassVar[str]
    spec: PolicySpec
    history: int
    chunk: int
    embedding_dimension: int
    embedding_is_fixed: bool
    action_statistics: Standardizer

    @abstractmethod
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights anew from ``generator`` and reset all statistics."""

    @abstractmethod
    def fit_statistics(self, observation: Mapping[str, Tensor], actions: Tensor) -> None:
        """Take the statistics of inputs (N, ...) and actions (N, A) from demonstrations."""

    @abstractmethod
    def embed(self, observation: Mapping[str, Tensor]) -> Tensor:
        """One frame's observation, each (B, ...), to a vector (B, F)."""

    @abstractmethod
    def forward(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(B, k * F) to standardised actions (B, C, A).

        In training mode noise, if the policy has any, is drawn from ``generator``; without one, and
        in evaluation mode, there is none.
        """

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.action_statistics.mean.device

    def tensors(self, observation: Mapping[str, Any]) -> dict[str, Tensor]:
        """Check a batch of observations and bring it to the policy's device.

        Args:
            observation: ``proprioception`` (B, P) and ``features/<camera>`` (B, L, D); arrays or
                tensors; other keys are ignored.

        Returns:
            float32 tensors of what the policy reads, in its own order.

        Raises:
            ObservationError: a key is missing or a shape is wrong.
        """
        expected: dict[str, tuple[int, ...]] = {PROPRIOCEPTION: (self.spec.proprioception,)}
        for camera, shape in self.spec.features.items():
            expected[FEATURES_PREFIX + camera] = (shape.tokens, shape.dimension)
        missing = [key for key in expected if key not in observation]
        if missing:
            raise ObservationError(
                f"The policy reads {', '.join(expected)}, but the observation has no "
                f"{', '.join(missing)}; it holds {', '.join(map(str, observation)) or 'nothing'}. "
                "Give the environment the cameras and the encoder that the policy was trained on."
            )
        tensors: dict[str, Tensor] = {}
        rows = None
        for key, wanted in expected.items():
            tensor = torch.as_tensor(observation[key], dtype=torch.float32, device=self.device)
            if tensor.ndim == 0 or tuple(tensor.shape[1:]) != wanted:
                axes = ", ".join(map(str, ("B", *wanted)))
                raise ObservationError(
                    f"Expected {key} of shape ({axes}), got {tuple(tensor.shape)}."
                )
            if rows is not None and tensor.shape[0] != rows:
                raise ObservationError(
                    f"Expected one batch size in all observations, got {rows} rows of "
                    f"{PROPRIOCEPTION} and {tensor.shape[0]} of {key}."
                )
            rows = tensor.shape[0]
            tensors[key] = tensor
        return tensors

    @torch.inference_mode()
    def predict(
        self,
        observation: Mapping[str, Any],
        state: PolicyState | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, PolicyState | None]:
        """Actions for a batch of observations, as Stable-Baselines3 asks for them.

        Args:
            observation: see :meth:`tensors`; one observation without batch axis is allowed.
            state: what the last call returned, None at the start.
            episode_start: bool (B,), True where an episode begins and its memory is to be
                forgotten; None means nowhere (everywhere without ``state``).
            deterministic: of no effect, the policy does not sample.

        Returns:
            float32 actions (B, A) in [-1, 1], and the state for the next call: None for a policy
            that remembers nothing.

        Raises:
            ObservationError: a key is missing or a shape is wrong.
        """
        self.eval()
        single = np.ndim(observation.get(PROPRIOCEPTION, np.zeros((1, 1)))) == 1
        if single:
            observation = {key: value[None] for key, value in observation.items()}
        tensors = self.tensors(observation)
        embedded = _in_constant_batches(self.embed, tensors)
        rows = embedded.shape[0]
        starts = np.zeros(rows, dtype=bool) if state is not None else np.ones(rows, dtype=bool)
        if episode_start is not None:
            starts = starts | np.asarray(episode_start, dtype=bool).reshape(rows)

        memory: PolicyState = {}
        inputs = embedded
        if self.history > 1:
            frame = embedded.cpu().numpy()[:, None]
            window = np.repeat(frame, self.history, axis=1)
            if state is not None:
                kept = ~starts
                window[kept, :-1] = state["frames"][kept, 1:]
            memory["frames"] = window
            inputs = torch.from_numpy(window).to(self.device).flatten(1)

        standardized = _in_constant_batches(lambda batch: self(batch["inputs"]), {"inputs": inputs})
        plan = self.action_statistics.inverse(standardized).clamp(-1.0, 1.0).cpu().numpy()
        if self.chunk > 1:
            cursor = np.zeros(rows, dtype=np.int64)
            if state is not None:
                running = ~starts & (state["cursor"] < self.chunk)
                plan[running] = state["plan"][running]
                cursor[running] = state["cursor"][running]
            memory["plan"] = plan
            memory["cursor"] = cursor + 1
            actions = plan[np.arange(rows), cursor]
        else:
            actions = plan[:, 0]
        return (actions[0] if single else actions), (memory or None)


def _in_constant_batches(
    function: Callable[[dict[str, Tensor]], Tensor], inputs: Mapping[str, Tensor]
) -> Tensor:
    """Apply ``function`` to batches of exactly INFERENCE_BATCH rows, the last filled with zeros."""
    rows = next(iter(inputs.values())).shape[0]
    outputs = []
    for first in range(0, max(rows, 1), INFERENCE_BATCH):
        batch = {}
        for key, tensor in inputs.items():
            part = tensor[first : first + INFERENCE_BATCH]
            padded = part.new_zeros((INFERENCE_BATCH, *part.shape[1:]))
            padded[: part.shape[0]] = part
            batch[key] = padded
        outputs.append(function(batch))
    return torch.cat(outputs)[:rows]
