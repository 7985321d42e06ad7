"""Where the demonstrations of a store come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from egodtm_robot.demos.origin import FOREIGN_KIND, Origin

_UNKNOWN = "unknown"


@dataclass(frozen=True)
class DemonstrationAttributes:
    """Where demonstrations come from.

    Attributes:
        environment: kind and task, as in ``env=franka_kitchen_microwave``.
        task: task name, such as "microwave".
        randomization: reset preset.
        visual: visual preset.
        model_hash: hash of the compiled scene; simulator states fit no other.
        mujoco_version: the version that stepped it.
        expert_version: version of the demonstrator.
        noise: standard deviation of the noise on executed actions (recorded ones are clean).
        seed: the run seed that the episodes' seeds come from.
        cameras: cameras drawn while collecting.
        resolution: (height, width) of their images, pixels.
        quality: rendering preset.
        licence: under which the demonstrations may be passed on.
        camera_poses: for each of ``cameras`` its position, quaternion, fovy and body, so that
            another camera of the same name is noticed; stores of earlier versions have none.
        kind: what stored things call the simulator; like the next two None in stores of earlier
            versions.
        horizon: control steps of an episode.
        control_dt: seconds of a control step.
        origin: the data set that they were converted from, see :class:`Origin`; None for those
            that were made here, with a simulator that can restore and draw them.
    """

    environment: str
    task: str
    randomization: str
    visual: str
    model_hash: str
    mujoco_version: str
    expert_version: str
    noise: float
    seed: int
    cameras: tuple[str, ...]
    resolution: tuple[int, int]
    quality: str = "fast"
    licence: str = "Apache-2.0"
    camera_poses: dict[str, dict[str, Any]] = field(default_factory=dict)
    kind: str | None = None
    horizon: int | None = None
    control_dt: float | None = None
    origin: Origin | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "DemonstrationAttributes":
        """The attributes that a store holds; what a later version has added is passed over."""
        names = {field.name for field in fields(cls)}
        known = {name: value for name, value in values.items() if name in names}
        known["cameras"] = tuple(known["cameras"])
        known["resolution"] = tuple(known["resolution"])
        if known.get("origin") is not None:
            known["origin"] = Origin.from_json(known["origin"])
        return cls(**known)

    @property
    def foreign(self) -> bool:
        """Whether no simulator known here can restore or draw the demonstrations."""
        return self.origin is not None

    @property
    def environment_kind(self) -> str:
        """The kind of the environment, also where the store does not say it by itself."""
        return self.kind or self.environment.removesuffix(f"_{self.task}")


def foreign_attributes(origin: Origin, licence: str | None = None) -> DemonstrationAttributes:
    """Attributes of a store of demonstrations that no simulator is at hand for.

    Args:
        origin: the data set that they come from. Its cameras keep their order.
        licence: under which they may be passed on, if the data set says so.
    """
    return DemonstrationAttributes(
        environment=f"{FOREIGN_KIND}_{origin.name}",
        task=origin.name,
        randomization=_UNKNOWN,
        visual=_UNKNOWN,
        model_hash=_UNKNOWN,
        mujoco_version=_UNKNOWN,
        expert_version=_UNKNOWN,
        noise=0.0,
        seed=0,
        cameras=tuple(origin.resolutions),
        resolution=next(iter(origin.resolutions.values()), (0, 0)),
        quality=_UNKNOWN,
        licence=licence or _UNKNOWN,
        kind=FOREIGN_KIND,
        control_dt=None if not origin.fps else 1.0 / origin.fps,
        origin=origin,
    )
