"""A learned correction of a frozen policy.

Silver et al., Residual Policy Learning, 2018. The frozen policy may be of any kind, with memory and
chunks of its own: the correction sees what it does at this step and adds to it.
"""

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from policies.actor import BASE_ACTION
from policies.base import Policy, PolicyState


def combined(base: np.ndarray, correction: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """What is executed, float32 (B, A) in [-1, 1].

    Args:
        base: (B, A), actions of the frozen policy.
        correction: (B, A) in [-1, 1], of the learned one.
        scale: (A,), how far it can correct each dimension.
    """
    return np.clip(base + scale * correction, -1.0, 1.0).astype(np.float32)


def residual_of(actions: np.ndarray, base: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The correction that comes nearest to actions, float32 (B, A) in [-1, 1].

    Args:
        actions: (B, A) in [-1, 1].
        base: see :func:`combined`, also for the next.
        scale: (A,).
    """
    return np.clip((actions - base) / scale, -1.0, 1.0).astype(np.float32)


class ResidualVecEnv(VecEnvWrapper):
    """Environments in which actions correct a frozen policy's.

    Observations have its actions too, as ``base_action`` (N, A).

    Args:
        venv: whose observations the frozen policy reads.
        base: the frozen policy.
        scale: (A,), see :func:`combined`.
    """

    def __init__(self, venv: VecEnv, base: Policy, scale: np.ndarray) -> None:
        assert isinstance(venv.observation_space, spaces.Dict)
        assert venv.action_space.shape is not None
        own = spaces.Box(-1.0, 1.0, venv.action_space.shape, np.float32)
        everything = spaces.Dict({**venv.observation_space.spaces, BASE_ACTION: own})
        super().__init__(venv, observation_space=everything)
        self._base = base
        self._scale = scale
        self._state: PolicyState | None = None
        self._actions = np.zeros((venv.num_envs, *venv.action_space.shape), np.float32)

    def _with_base(
        self, observations: dict[str, np.ndarray], starts: np.ndarray
    ) -> dict[str, np.ndarray]:
        self._actions, self._state = self._base.predict(observations, self._state, starts)
        return {**observations, BASE_ACTION: self._actions}

    def reset(self) -> dict[str, np.ndarray]:
        """Begin an episode in every environment."""
        observations = self.venv.reset()
        assert isinstance(observations, dict)
        self._state = None
        return self._with_base(observations, np.ones(self.num_envs, dtype=bool))

    def step_async(self, actions: np.ndarray) -> None:
        """Let every environment take its step, with corrections (N, A) in [-1, 1]."""
        self.venv.step_async(combined(self._actions, actions, self._scale))

    def step_wait(self) -> VecEnvStepReturn:
        """See :class:`stable_baselines3.common.vec_env.VecEnv`."""
        observations, rewards, dones, infos = self.venv.step_wait()
        assert isinstance(observations, dict)
        over = np.flatnonzero(dones)
        if len(over):
            # What the frozen policy would have done next, from the memory of the ended episode.
            last = [infos[row]["terminal_observation"] for row in over]
            stacked = {name: np.stack([one[name] for one in last]) for name in last[0]}
            state = self._state
            if state is not None:
                state = {name: array[over] for name, array in state.items()}
            nowhere = np.zeros(len(over), dtype=bool)
            actions, _ = self._base.predict(stacked, state, nowhere)
            for row, one, action in zip(over, last, actions, strict=True):
                infos[row]["terminal_observation"] = {**one, BASE_ACTION: action}
        return self._with_base(observations, dones), rewards, dones, infos
