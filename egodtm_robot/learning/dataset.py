"""Demonstrations with cached features, held in memory."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from egodtm_robot.core.errors import DatasetError
from egodtm_robot.demos.store import DemonstrationStore
from egodtm_robot.encoders.shifts import AugmentationConfig
from policies.spec import FEATURES_PREFIX, PROPRIOCEPTION, ActionRange, FeatureShape, PolicySpec


@dataclass(frozen=True)
class CachedFeatureDataset:
    """Demonstrations as a policy sees them, in memory, step after step.

    Attributes:
        proprioception: float32 (N, P).
        features: float32 (N, L, D) a camera.
        actions: float32 (N, A) in [-1, 1].
        episode_offsets: int64 (E + 1,); episode i holds the steps from its offset to the next.
        grids: where a camera's tokens lie, (rows, columns) or None.
        fingerprint: of the demonstrations and the encoder; a run is resumed on the same one only.
        shifted: float32 (K, N, L, D) a camera, the features of shifted copies of the images; empty
            without augmentation.
        action_range: the units that ``actions`` had before; None where they were [-1, 1].
    """

    proprioception: np.ndarray
    features: Mapping[str, np.ndarray]
    actions: np.ndarray
    episode_offsets: np.ndarray
    grids: Mapping[str, tuple[int, int] | None]
    fingerprint: str = ""
    shifted: Mapping[str, np.ndarray] = field(default_factory=dict)
    action_range: ActionRange | None = None

    def __post_init__(self) -> None:
        steps = int(self.episode_offsets[-1]) if len(self.episode_offsets) else 0
        if len(self.episode_offsets) < 2 or steps < 2:
            raise DatasetError(
                f"Expected at least one demonstration of two steps, got "
                f"{max(len(self.episode_offsets) - 1, 0)} of {steps} steps in all. Collect more."
            )
        if self.episode_offsets[0] != 0 or (np.diff(self.episode_offsets) < 1).any():
            raise DatasetError("Expected episode offsets that start at 0 and increase.")
        if self.grids.keys() != self.features.keys():
            raise DatasetError(
                f"Expected one grid (or None) a camera, got {sorted(self.grids)} for "
                f"{sorted(self.features)}."
            )
        arrays = {PROPRIOCEPTION: (self.proprioception, 2), "actions": (self.actions, 2)}
        arrays |= {FEATURES_PREFIX + camera: (a, 3) for camera, a in self.features.items()}
        if self.shifted:
            copies = {camera: array.shape[1:] for camera, array in self.shifted.items()}
            if copies != {camera: array.shape for camera, array in self.features.items()}:
                raise DatasetError(
                    "Expected shifted copies of the features of every camera, got "
                    f"{ {camera: array.shape for camera, array in self.shifted.items()} }. Embed "
                    "the demonstrations again."
                )
            for camera, array in self.shifted.items():
                for copy, features in enumerate(array):
                    arrays[f"copy {copy} of {FEATURES_PREFIX}{camera}"] = (features, 3)
        for name, (array, axes) in arrays.items():
            if array.ndim != axes or array.shape[0] != steps:
                raise DatasetError(
                    f"Expected {name} with {axes} axes and {steps} rows, one a step, got "
                    f"{array.shape}. Embed the demonstrations again."
                )
            if array.dtype != np.float32:
                raise DatasetError(f"Expected float32 {name}, got {array.dtype}.")
            # min and max see every NaN and infinity without a mask as large as the array.
            if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
                raise DatasetError(
                    f"{name} holds values that are not finite; the encoder or the demonstrations "
                    "are damaged (check with: python -m egodtm_robot.demos.verify)."
                )

    @classmethod
    def from_store(
        cls,
        store: DemonstrationStore,
        features: Mapping[str, np.ndarray],
        grids: Mapping[str, tuple[int, int] | None],
        encoder_fingerprint: str,
        episodes: int | None = None,
        shifted: Mapping[str, np.ndarray] | None = None,
        augmentation: AugmentationConfig | None = None,
        action_range: ActionRange | None = None,
    ) -> "CachedFeatureDataset":
        """The first ``episodes`` demonstrations of a store with their features.

        Args:
            store: open in either mode.
            features: (N, L, D) a camera, of all the store's steps or at least the first ones.
            grids: see the class.
            encoder_fingerprint: of what made the features.
            episodes: how many; None takes all.
            shifted: features of shifted copies, see the class.
            augmentation: what they were made with.
            action_range: limits of the actions in the robot's own units, to bring them to [-1, 1];
                None takes the actions as they are.

        Raises:
            DatasetError: the store holds fewer, or the features do not fit it.
        """
        available = int(store.num_episodes)
        episodes = available if episodes is None else episodes
        if not 1 <= episodes <= available:
            raise DatasetError(
                f"Expected at least {episodes} demonstrations, the store holds {available}. "
                "Collect more, or lower demos.episodes."
            )
        offsets = np.asarray(store.episode_offsets, dtype=np.int64)[: episodes + 1]
        steps = int(offsets[-1])
        rows = store.steps(slice(0, steps), ("proprioception", "actions"))
        # Of these episodes alone: a store that grows must not end a run that has begun.
        identity = f"{store.prefix_fingerprint(episodes)}:{encoder_fingerprint}"
        if shifted:
            assert augmentation is not None
            identity += f":{augmentation.crops} shifts of {augmentation.pixels}"
        actions = np.asarray(rows["actions"], dtype=np.float32)
        return cls(
            proprioception=np.asarray(rows["proprioception"], dtype=np.float32),
            features={
                camera: np.ascontiguousarray(array[:steps], dtype=np.float32)
                for camera, array in features.items()
            },
            actions=actions if action_range is None else action_range.normalize(actions),
            episode_offsets=offsets,
            grids=dict(grids),
            shifted={
                camera: np.ascontiguousarray(array[:, :steps], dtype=np.float32)
                for camera, array in (shifted or {}).items()
            },
            fingerprint=hashlib.sha256(identity.encode()).hexdigest()[:16],
            action_range=action_range,
        )

    @property
    def num_episodes(self) -> int:
        """E."""
        return len(self.episode_offsets) - 1

    @property
    def observation(self) -> dict[str, np.ndarray]:
        """``proprioception`` (N, P) and ``features/<camera>`` (N, L, D), as a policy reads them."""
        features = {FEATURES_PREFIX + camera: array for camera, array in self.features.items()}
        return {PROPRIOCEPTION: self.proprioception, **features}

    @property
    def spec(self) -> PolicySpec:
        """The shapes that a policy for this data reads and writes."""
        return PolicySpec(
            proprioception=self.proprioception.shape[1],
            actions=self.actions.shape[1],
            features={
                camera: FeatureShape(array.shape[1], array.shape[2], self.grids[camera])
                for camera, array in self.features.items()
            },
            action_range=self.action_range,
        )


def split_episodes(episodes: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole episodes for training and for validation.

    Args:
        episodes: how many there are.
        fraction: share held out; rounded, at least one if positive and two episodes exist.
        seed: of the choice.

    Returns:
        int64 indices of training and of validation episodes, ascending and disjoint.
    """
    held_out = round(episodes * fraction)
    if fraction > 0 and episodes > 1:
        held_out = min(max(held_out, 1), episodes - 1)
    order = np.random.default_rng([seed, 1]).permutation(episodes)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
