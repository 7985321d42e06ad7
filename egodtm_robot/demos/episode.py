"""One demonstrated episode, as it is collected and stored."""

from dataclasses import dataclass

import numpy as np

from egodtm_robot.core.errors import InvalidEpisodeError


@dataclass(frozen=True)
class Episode:
    """What a demonstrator saw and did in T steps, and all it takes to draw it again.

    Row t of every step array belongs to the moment before action t was executed.

    Attributes:
        rgb: for each camera uint8 (T, H, W, 3); may be empty.
        proprioception: float32 (T, P), robot joint positions in radians and meters.
        privileged: float32 (T, V), simulator state for the ``oracle`` encoder.
        actions: float32 (T, A) in [-1, 1], the demonstrator's clean action.
        simulator_state: float64 (T, S), mjSTATE_INTEGRATION.
        reset: what the reset randomized, arrays of fixed shape by name.
        seed: the seed that the environment was reset with.
        success: whether the task was solved.
    """

    rgb: dict[str, np.ndarray]
    proprioception: np.ndarray
    privileged: np.ndarray
    actions: np.ndarray
    simulator_state: np.ndarray
    reset: dict[str, np.ndarray]
    seed: int
    success: bool = True

    @property
    def num_steps(self) -> int:
        """Number of steps T."""
        return len(self.actions)

    def step_arrays(self) -> dict[str, np.ndarray]:
        """All arrays with a row a step, by the names that the store knows them by.

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
        if np.abs(self.actions).max(initial=0.0) > 1.0:
            raise InvalidEpisodeError(
                "Expected actions within -1 to 1, got one of size "
                f"{np.abs(self.actions).max()} in the episode of seed {self.seed}."
            )
        return arrays

    def episode_arrays(self) -> dict[str, np.ndarray]:
        """All arrays with one row an episode: ``reset/<name>``, (1, ...)."""
        return {f"reset/{name}": np.asarray(value)[None] for name, value in self.reset.items()}
