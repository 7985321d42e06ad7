"""Batches of demonstrated steps, with the windows and the actions that a policy learns from."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from egodtm_robot.core.history import history_windows
from egodtm_robot.learning.dataset import CachedFeatureDataset
from policies.base import Batch, Policy
from policies.spec import FEATURES_PREFIX, PROPRIOCEPTION

_ROWS_AT_ONCE = 4_096


class DemonstratedSteps:
    """The N steps of chosen episodes as tensors on the CPU.

    Args:
        dataset: demonstrations and features.
        episodes: int64, indices of the chosen ones.
        history: T, frames that an action is computed from.
        chunk: C, actions that a policy predicts at once.

    Attributes:
        observation: ``proprioception`` (N, P) and ``features/<camera>`` (N, L, D).
        shifted: the same for each shifted copy of the images.
        actions: (N, A) in [-1, 1].
        windows: int64 (N, T), the rows of each step's last frames, the oldest first.
        targets: int64 (N, C), the rows of each step's action and those after it; past the episode's
            end its last row is repeated.
        valid: bool (N, C), False past the episode's end.
    """

    def __init__(
        self, dataset: CachedFeatureDataset, episodes: np.ndarray, history: int, chunk: int
    ) -> None:
        offsets = dataset.episode_offsets
        lengths = np.diff(offsets)[episodes]
        rows = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in episodes])
        everything = len(rows) == len(dataset.actions)

        # Not copied where all episodes are used: features can fill most of the memory.
        def chosen(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
            return {
                name: torch.from_numpy(array if everything else array[rows])
                for name, array in arrays.items()
            }

        self.observation = chosen(dataset.observation)
        copies = len(next(iter(dataset.shifted.values()))) if dataset.shifted else 0
        self.shifted = [
            chosen(
                {PROPRIOCEPTION: dataset.proprioception}
                | {FEATURES_PREFIX + camera: a[copy] for camera, a in dataset.shifted.items()}
            )
            for copy in range(copies)
        ]
        self.actions = torch.from_numpy(dataset.actions[rows])
        own_offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.windows = torch.from_numpy(history_windows(own_offsets, history))
        ends = np.repeat(own_offsets[1:], lengths)[:, None]
        future = np.arange(len(rows))[:, None] + np.arange(chunk)
        self.targets = torch.from_numpy(np.minimum(future, ends - 1))
        self.valid = torch.from_numpy(future < ends)


class PolicyBatches:
    """Batches for one policy, on its device, with everything precomputed that does not learn.

    Args:
        steps: what was demonstrated.
        policy: with its statistics fitted.
    """

    def __init__(self, steps: DemonstratedSteps, policy: Policy) -> None:
        device = policy.device
        self._policy = policy
        # The plain frames first, then those of each shifted copy.
        looks = []
        for observation in (steps.observation, *steps.shifted):
            look = {name: tensor.to(device) for name, tensor in observation.items()}
            looks.append(_precomputed(policy, look) if policy.precompute_is_fixed else look)
        self._looks = len(looks)
        self._observation: Mapping[str, Tensor] = (
            looks[0]
            if len(looks) == 1
            else {name: torch.cat([look[name] for look in looks]) for name in looks[0]}
        )
        self._actions = steps.actions.to(device)
        self._windows = steps.windows.to(device)
        self._targets = steps.targets.to(device)
        self._valid = steps.valid.to(device)

    def __len__(self) -> int:
        """N, the number of steps."""
        return len(self._actions)

    def __iter__(self) -> Iterator[Batch]:
        """All steps in their order, a few thousand at a time."""
        rows = torch.arange(len(self), device=self._actions.device)
        yield from (self.batch(part) for part in rows.split(_ROWS_AT_ONCE))

    def batch(self, rows: Tensor, generator: torch.Generator | None = None) -> Batch:
        """The steps of the given rows, int64 (B,).

        Args:
            rows: which steps.
            generator: chooses for each row between the plain frames and the shifted copies, where
                there are any; None takes the plain ones.
        """
        windows = self._windows.index_select(0, rows)
        if self._looks > 1 and generator is not None:
            look = torch.randint(
                self._looks, (len(rows), 1), generator=generator, device=rows.device
            )
            windows = windows + look * len(self)
        frames: Mapping[str, Tensor] = {
            name: tensor.index_select(0, windows.ravel())
            for name, tensor in self._observation.items()
        }
        if not self._policy.precompute_is_fixed:
            frames = self._policy.precompute(frames)
        return Batch(
            observation={
                name: tensor.unflatten(0, tuple(windows.shape)) for name, tensor in frames.items()
            },
            actions=self._actions[self._targets.index_select(0, rows)],
            valid=self._valid.index_select(0, rows),
        )


@torch.no_grad()
def _precomputed(policy: Policy, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts = zip(*(tensor.split(_ROWS_AT_ONCE) for tensor in observation.values()), strict=True)
    precomputed = [policy.precompute(dict(zip(observation, part, strict=True))) for part in parts]
    return {name: torch.cat([part[name] for part in precomputed]) for name in precomputed[0]}
