"""A small environment like the kitchen, whose outcome hangs on every bit of an action."""

import os
import signal
import time
import zlib
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class FakeEnvironment(gymnasium.Env[dict[str, Any], np.ndarray]):
    """Ends after a number of steps that the seed decides, or earlier by luck of the actions.

    Args:
        failure: what happens when an episode is reset with ``failing_seed``: None, ``raise``,
            ``kill``, ``exit`` or ``hang``.
        failing_seed: see ``failure``.
    """

    def __init__(self, failure: str | None = None, failing_seed: int = 5) -> None:
        self.failure, self.failing_seed = failure, failing_seed
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = spaces.Dict(
            {
                "proprioception": spaces.Box(-np.inf, np.inf, (3,), np.float32),
                "privileged": spaces.Box(-np.inf, np.inf, (4,), np.float32),
                "rgb": spaces.Dict({"left": spaces.Box(0, 255, (8, 8, 3), np.uint8)}),
            }
        )
        self.done = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        if self.failure is not None and seed == self.failing_seed:
            if self.failure == "raise":
                raise RuntimeError("the drawer is stuck")
            if self.failure == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.failure == "exit":
                os._exit(7)
            time.sleep(60)
        self.position = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        self.horizon = int(self.np_random.integers(3, 12))
        self.steps = self.solved_steps = 0
        self.checksum = 0
        self.done = False
        return self._observe(), {"solved": False, "success": False}

    def step(self, action: np.ndarray) -> Any:
        assert not self.done, "a finished episode was stepped"
        assert action.shape == (2,)
        assert action.dtype == np.float32
        self.steps += 1
        self.checksum = zlib.crc32(action.tobytes(), self.checksum)
        self.position[:2] += action
        solved = self.checksum % 3 == 0
        self.solved_steps += solved
        success = self.solved_steps > 1
        truncated = not success and self.steps >= self.horizon
        self.done = success or truncated
        progress = 1.0 if solved else self.steps / 20
        info = {"solved": solved, "success": success, "progress": progress}
        return self._observe(), float(solved), success, truncated, info

    def render(self) -> np.ndarray:
        return np.full((8, 8, 3), self.steps, np.uint8)

    def _observe(self) -> dict[str, Any]:
        image = np.zeros((8, 8, 3), np.uint8)
        image[:] = (np.abs(self.position) * 100).astype(np.uint8)
        image[0, 0] = self.steps
        return {
            "proprioception": self.position.copy(),
            "privileged": np.append(self.position, np.float32(self.steps)),
            "rgb": {"left": image},
        }
