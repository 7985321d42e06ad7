"""One demonstrated episode, as it is collected and stored."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from egodtm_robot.core.errors import InvalidEpisodeError


@dataclass(frozen=True)
class Episode:
    """What a demonstrator saw and did in T steps, and all it takes to draw it again.

    Row t of every step array belongs to the moment before action t was executed. Episodes of
    another toolkit have arrays of size 0 for what it does not record, and may bring more.

    Attributes:
        rgb: for each camera uint8 (T, H, W, 3); may be empty.
        proprioception: float32 (T, P), robot joint positions in radians and meters.
        privileged: float32 (T, V), simulator state for the ``oracle`` encoder.
        actions: float32 (T, A), the demonstrator's clean action; in [-1, 1] but for another
            toolkit's.
        simulator_state: float64 (T, S), mjSTATE_INTEGRATION.
        reset: what the reset randomized, arrays of fixed shape by name.
        seed: the seed that the environment was reset with; of another toolkit's episode its
            number there.
        success: whether the task was solved; None where nobody has said.
        task_index: int64 (T,), which of the origin's tasks each step belongs to; None without.
        extra: further arrays (T, ...) by name, of any type of number, that have no counterpart
            here.
        notes: JSON-able facts about the episode that have no counterpart here.
    """

    rgb: dict[str, np.ndarray]
    proprioception: np.ndarray
    privileged: np.ndarray
    actions: np.ndarray
    simulator_state: np.ndarray
    reset: dict[str, np.ndarray]
    seed: int
    success: bool | None = True
    task_index: np.ndarray | None = None
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def num_steps(self) -> int:
        """Number of steps T."""
        return len(self.actions)

    def step_arrays(self, *, bounded: bool = True) -> dict[str, np.ndarray]:
        """All arrays with a row a step, by the names that the store knows them by.

        Args:
            bounded: whether actions must lie in [-1, 1].

        Raises:
            InvalidEpisodeError: an array is not of its type or rank, has another number of steps
                than the actions, or holds a value that is not finite; or there are no steps.
        """
        arrays = {
            "actions": self.actions,
            "proprioception": self.proprioception,
            "privileged": self.privileged,
            "simulator_state": self.simulator_state,
        } | {f"rgb/{camera}": frames for camera, frames in self.rgb.items()}
        steps = self.num_steps
        if steps < 1:
            raise InvalidEpisodeError(
                f"Expected at least one step in the episode of seed {self.seed}, got none."
            )
        for name, values in arrays.items():
            image = name.startswith("rgb/")
            dtype = "uint8" if image else "float64" if name == "simulator_state" else "float32"
            shape = "(T, H, W, 3)" if image else "(T, size)"
            fits = values.ndim == 4 and values.shape[3] == 3 if image else values.ndim == 2
            if values.dtype != np.dtype(dtype) or not fits or len(values) != steps:
                raise InvalidEpisodeError(
                    f"Expected {name!r} as {dtype} {shape} with T = {steps} steps, as many as "
                    f"actions; got {values.dtype} {values.shape}."
                )
            if not image and not np.isfinite(values).all():
                row, column = np.argwhere(~np.isfinite(values))[0]
                raise InvalidEpisodeError(
                    f"Expected finite numbers in {name!r}, got {values[row, column]} at "
                    f"step {row}, column {column} of the episode of seed {self.seed}. "
                    "Reject this episode."
                )
        if bounded and np.abs(self.actions).max(initial=0.0) > 1.0:
            raise InvalidEpisodeError(
                "Expected actions within -1 to 1, got one of size "
                f"{np.abs(self.actions).max()} in the episode of seed {self.seed}."
            )
        further = {f"extra/{name}": values for name, values in self.extra.items()}
        if self.task_index is not None:
            further["task_index"] = self.task_index
        for name, values in further.items():
            if values.ndim < 1 or len(values) != steps:
                raise InvalidEpisodeError(
                    f"Expected {name!r} with {steps} rows, as many as actions; got {values.shape} "
                    f"in the episode of seed {self.seed}."
                )
        return arrays | further

    def episode_arrays(self) -> dict[str, np.ndarray]:
        """All arrays with one row an episode: ``reset/<name>``, (1, ...)."""
        return {f"reset/{name}": np.asarray(value)[None] for name, value in self.reset.items()}
