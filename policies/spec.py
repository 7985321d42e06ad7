"""Shapes and names of what a policy reads and writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

PROPRIOCEPTION = "proprioception"
"""Key of the robot's own state in an observation."""

FEATURES_PREFIX = "features/"
"""Observations are flat mappings, ``features/<camera>`` for each camera, because the dictionary
spaces of Stable-Baselines3's vectorized environments do not nest."""


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
class ActionRange:
    """What -1 and 1 stand for in a robot's own units, a pair of limits an action's dimension.

    A dimension whose limits are equal never moved; it is 0 for a policy and that value for the
    robot.

    Attributes:
        low: float32 numbers, A of them; what -1 stands for.
        high: what 1 stands for, nowhere below ``low``.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        both = np.array([self.low, self.high], dtype=np.float64)
        if both.ndim != 2 or not np.isfinite(both).all() or (both[0] > both[1]).any():
            raise ValueError(f"Expected finite limits, low <= high for each action, got {self}.")

    @classmethod
    def of(cls, low: np.ndarray, high: np.ndarray) -> Self:
        """Limits (A,) as they come back from a checkpoint: float32 values."""
        pair = (np.asarray(limit, dtype=np.float32).tolist() for limit in (low, high))
        return cls(*map(tuple, pair))

    @property
    def center(self) -> np.ndarray:
        """float32 (A,), what 0 stands for."""
        return ((np.array(self.low) + np.array(self.high)) / 2).astype(np.float32)

    @property
    def half(self) -> np.ndarray:
        """float32 (A,), what a step from 0 to 1 stands for; 0 where an action never moved."""
        return ((np.array(self.high) - np.array(self.low)) / 2).astype(np.float32)

    def normalize(self, actions: np.ndarray) -> np.ndarray:
        """Actions (..., A) in the robot's units -> float32 in [-1, 1]; clipped at the limits."""
        half = self.half.astype(np.float64)
        moved = np.where(half > 0, half, 1.0)
        normalized = np.where(half > 0, (actions - self.center.astype(np.float64)) / moved, 0.0)
        return np.clip(normalized, -1.0, 1.0).astype(np.float32)

    def restore(self, normalized: np.ndarray) -> np.ndarray:
        """Actions (..., A) in [-1, 1] -> float32 in the robot's units."""
        return normalized * self.half + self.center


@dataclass(frozen=True)
class PolicySpec:
    """What a policy reads and writes.

    Attributes:
        proprioception: length P of the robot's own state.
        actions: length A of an action.
        features: shape of each camera's features, in the order in which they are concatenated.
        action_range: the robot's units of the actions; None where they are [-1, 1] themselves, as
            in every environment here.
    """

    proprioception: int
    actions: int
    features: Mapping[str, FeatureShape]
    action_range: ActionRange | None = None

    def __post_init__(self) -> None:
        if self.proprioception < 0 or self.actions < 1:
            raise ValueError(f"Expected proprioception >= 0 and actions >= 1, got {self}.")
        if self.action_range is not None and len(self.action_range.low) != self.actions:
            raise ValueError(
                f"Expected limits of {self.actions} actions, got {len(self.action_range.low)}."
            )

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and strings, for a checkpoint."""
        limits = self.action_range
        # Left out where there is none, so that specifications of before name the same runs.
        units = {} if limits is None else {"low": list(limits.low), "high": list(limits.high)}
        return {
            **({"action_range": units} if units else {}),
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
        limits = data.get("action_range")
        return cls(
            int(data["proprioception"]),
            int(data["actions"]),
            features,
            None
            if limits is None
            else ActionRange(*(tuple(map(float, limits[end])) for end in ("low", "high"))),
        )
