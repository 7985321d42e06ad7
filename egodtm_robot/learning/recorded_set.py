"""A store of demonstrations taken as it is, of whatever robot: what ``env=recorded`` learns from.

No environment is asked for anything. Cameras, sizes, names and the units of actions are those that
the store has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egodtm_robot.core.errors import DatasetError, UnknownNameError
from egodtm_robot.demos.origin import Origin
from egodtm_robot.demos.store import DemonstrationStore
from egodtm_robot.encoders.base import Encoder
from policies.spec import ActionRange

ActionLimits = Literal["extremes", "quantiles"]
"""Which of the demonstrated actions -1 and 1 stand for."""

QUANTILES = (0.01, 0.99)
"""Shares of the demonstrated actions below the limits of ``quantiles``."""


@dataclass(frozen=True)
class RecordedSet:
    """What training needs to know of a recorded robot.

    Attributes:
        store: the demonstrations.
        episodes: how many of them, from the first.
        cameras: (height, width) of the images of each camera that is seen, pixels.
        proprioception: smallest and largest value of each of the P numbers that the robot knows of
            itself, float32 (2, P).
        action_range: the limits of its actions, in its own units.
    """

    store: DemonstrationStore
    episodes: int
    cameras: Mapping[str, tuple[int, int]]
    proprioception: np.ndarray
    action_range: ActionRange

    def description(self) -> dict[str, Any]:
        """What a policy's checkpoint keeps of the robot, as plain JSON."""
        attributes = self.store.attributes
        low, high = self.proprioception.tolist()
        return {
            "name": attributes.environment,
            "cameras": {name: list(size) for name, size in self.cameras.items()},
            "control_dt": attributes.control_dt,
            "proprioception": {"low": low, "high": high},
            "actions": names_of(attributes.origin, "actions", len(self.action_range.low)),
        }


def open_recorded_set(
    path: Path,
    encoder: Encoder,
    cameras: Sequence[str] = (),
    episodes: int | None = None,
    limits: ActionLimits = "extremes",
) -> RecordedSet:
    """Open a store to learn from, and refuse what cannot be learned from.

    Args:
        path: folder of the store.
        encoder: that its images are to be embedded by.
        cameras: that are seen; none takes all that the store has images of.
        episodes: how many to learn from; None takes all.
        limits: ``extremes`` brings the smallest and the largest demonstrated action to -1 and 1,
            ``quantiles`` the one below which a hundredth lies and the one above which it does.

    Raises:
        StoreNotFoundError: there is no store.
        DatasetError: it holds too few episodes, no images, or no state that the encoder reads.
        UnknownNameError: it has no images of a camera.
    """
    store = DemonstrationStore.open(path)
    available = store.num_episodes
    wanted = available if episodes is None else episodes
    if not 1 <= wanted <= available:
        raise DatasetError(
            f"Expected {max(wanted, 1)} demonstrations in {path}, which holds {available}; nothing "
            "can be collected without an environment. Lower demos.episodes."
        )
    chosen = _cameras(store, cameras) if encoder.source == "rgb" else {}
    if encoder.source == "privileged":
        known = "privileged" in store.array_names
        length = int(store.array("privileged").spec.row_shape[0]) if known else 0
        if not length:
            raise DatasetError(
                f"Encoder {encoder.name} reads the state of a simulator, which {path} does not "
                "hold. Choose an encoder of images, or encoder=none."
            )
        encoder.expect_states(length)
    steps = int(store.episode_offsets[wanted])
    rows = store.steps(slice(0, steps), ("actions", "proprioception"))
    states = rows["proprioception"]
    return RecordedSet(
        store=store,
        episodes=wanted,
        cameras=chosen,
        proprioception=np.stack([states.min(axis=0), states.max(axis=0)]),
        action_range=action_range(rows["actions"], limits),
    )


def action_range(actions: np.ndarray, limits: ActionLimits = "extremes") -> ActionRange:
    """The limits of demonstrated actions (N, A), one pair for each of the A numbers.

    Raises:
        DatasetError: a value is not finite.
    """
    if not np.isfinite(actions).all():
        raise DatasetError(
            "The demonstrated actions hold values that are not finite; the store is damaged "
            "(check with: python -m egodtm_robot.demos.verify) or was converted from such data."
        )
    if limits == "quantiles":
        low, high = np.quantile(actions.astype(np.float64), QUANTILES, axis=0)
        return ActionRange.of(low, high)
    return ActionRange.of(actions.min(axis=0), actions.max(axis=0))


def names_of(origin: Origin | None, array: str, count: int) -> list[str] | None:
    """What a data set of LeRobot calls the numbers of an array, where it says so.

    Args:
        origin: of the store.
        array: of the store.
        count: of the numbers; other numbers of names are passed over.
    """
    if origin is None:
        return None
    names: Any = origin.metadata
    for key in ("info", "features", origin.columns.get(array, ""), "names"):
        names = names.get(key) if isinstance(names, dict) else None
    if isinstance(names, dict) and len(names) == 1:  # such as {"motors": [...]}
        (names,) = names.values()
    return (
        [str(name) for name in names] if isinstance(names, list) and len(names) == count else None
    )


def _cameras(store: DemonstrationStore, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Sizes of the images of the named cameras, or of all that the store has images of."""
    arrays = [name for name in store.array_names if name.startswith("rgb/")]
    known = [name.removeprefix("rgb/") for name in arrays]
    if not known:
        raise DatasetError(
            f"Expected images in {store.path}, it holds none. Convert the set with its images, or "
            "choose encoder=none."
        )
    for name in names:
        if name not in known:
            raise UnknownNameError(f"camera of {store.path}", name, known)
    found = {}
    for name in names or known:
        height, width, _ = store.array(f"rgb/{name}").spec.row_shape
        found[name] = (int(height), int(width))
    return found
