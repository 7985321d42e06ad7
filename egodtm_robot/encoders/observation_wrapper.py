"""One environment whose observations carry an encoder's features instead of images."""

from collections.abc import Mapping
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from egodtm_robot.core.errors import ObservationError
from egodtm_robot.core.history import advance_windows
from egodtm_robot.evaluation.rollouts import ObservationEncoder, observation_key
from policies.spec import FEATURES_PREFIX, PROPRIOCEPTION, FeatureShape


class FeatureObservation(gymnasium.Wrapper[dict[str, Any], Any, dict[str, Any], Any]):
    """Runs the encoder on every step, for code that drives environments by itself.

    Observations are a flat dictionary of ``proprioception`` (P,) and ``features/<camera>``
    (L, D), what :class:`policies.base.Policy` reads, so that
    ``stable_baselines3.common.evaluation.evaluate_policy`` and its vectorized environments run
    our policies unchanged. :func:`egodtm_robot.evaluation.rollouts.evaluate` is faster: it
    encodes the images of many environments together.

    Args:
        env: gives ``proprioception`` and ``rgb`` with the cameras (or ``privileged``).
        encoder: makes the features.
        features: shape of each camera's features; ``policy.spec.features``.

    Raises:
        ObservationError: the environment does not show what the encoder reads.
    """

    def __init__(
        self,
        env: gymnasium.Env[dict[str, Any], Any],
        encoder: ObservationEncoder,
        features: Mapping[str, FeatureShape],
    ) -> None:
        super().__init__(env)
        self._encoder = encoder
        self._keys = {camera: observation_key(encoder, camera) for camera in features}
        self._windows: dict[str, np.ndarray] = {}
        own = env.observation_space
        assert isinstance(own, spaces.Dict)
        entries: dict[str, spaces.Space[Any]] = {PROPRIOCEPTION: own[PROPRIOCEPTION]}
        for camera, shape in features.items():
            key = self._keys[camera]
            if key is not None and not _has(own, key):
                raise ObservationError(
                    f"The encoder reads {key}, but the environment gives "
                    f"{', '.join(own.spaces)}. Add the camera with env.cameras."
                )
            entries[FEATURES_PREFIX + camera] = spaces.Box(
                -np.inf, np.inf, (shape.tokens, shape.dimension), np.float32
            )
        self.observation_space = spaces.Dict(entries)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode; windows of frames begin with its first frame repeated."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._windows = {}
        return self._features(observation), info

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._features(observation), reward, terminated, truncated, info

    def _features(self, observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
        result = {PROPRIOCEPTION: observation[PROPRIOCEPTION]}
        for camera, key in self._keys.items():
            history = self._encoder.history
            if key is None:
                windows = np.zeros((1, history, 0), np.float32)
            else:
                frame: Any = observation
                for part in key.split("/"):
                    frame = frame[part]
                before = self._windows.get(camera)
                starts = np.array([before is None])
                windows = advance_windows(before, np.asarray(frame)[None], starts, history)
                self._windows[camera] = windows
            result[FEATURES_PREFIX + camera] = self._encoder.encode(windows)[0]
        return result


def _has(space: spaces.Space[Any], key: str) -> bool:
    for part in key.split("/"):
        if not isinstance(space, spaces.Dict) or part not in space.spaces:
            return False
        space = space[part]
    return True
