"""Shapes and names of what a policy reads and writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
