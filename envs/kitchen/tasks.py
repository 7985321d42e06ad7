"""The tasks of the Franka Kitchen: what must be where for an episode to count as solved.

Goals and thresholds follow FK1 of RoboHive, which the evaluation of R3M (Nair et al., 2022) uses:
a step is solved when *every* joint of the kitchen lies within 15 % of its range of its goal (the
joints that the task does not name: of their rest position) and the kettle within 5 cm of its own;
an episode succeeds once it has been solved on more than five steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from egodtm_robot.core.errors import UnknownNameError

KITCHEN_JOINTS: tuple[str, ...] = (
    "knob1",
    "knob2",
    "knob3",
    "knob4",
    "light",
    "slide_cabinet",
    "left_hinge",
    "right_hinge",
    "microwave",
)
"""The nine articulated joints in the order of observations; burners and the lamp follow these."""

KETTLE_REST = (-0.269, 0.35, 1.6192)
"""Where the kettle stands at reset: world meters, on the front left burner."""

JOINT_TOLERANCE = 0.15
"""Largest distance to the goal as a share of the joint's range (FK1)."""

KETTLE_TOLERANCE = 0.05
"""Largest distance of the kettle to its goal along each axis, meters (FK1)."""

SUCCESS_STEPS = 5
"""An episode succeeds when solved on *more* than this many steps (R3M)."""


@dataclass(frozen=True)
class Task:
    """One manipulation task.

    Attributes:
        name: the task's name, as in ``env=franka_kitchen_<name>``.
        joint_goals: goal of each joint that must move, radians or meters.
        handles: site that the hand must reach for each part of the task, in order.
        kettle_goal: where the kettle must stand, world meters.
        base_center: center of the box in which the ``default`` reset draws the robot's base,
            relative to the nominal base, meters; chosen so that the handle is in reach.
        horizon: steps of an episode under the ``default`` reset, with room to recover from a miss.
    """

    name: str
    joint_goals: Mapping[str, float]
    handles: tuple[str, ...]
    kettle_goal: tuple[float, float, float] = KETTLE_REST
    base_center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    horizon: int = 100

    @property
    def parts(self) -> int:
        """How many things must be moved."""
        return len(self.handles)


KITCHEN_TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            Task(
                name="microwave",
                joint_goals={"microwave": -1.25},
                handles=("microhandle_site",),
                base_center=(-0.05, 0.05, 0.0),
                horizon=100,
            ),
            Task(
                name="slide_cabinet",
                joint_goals={"slide_cabinet": 0.44},
                handles=("slide_site",),
                horizon=75,
            ),
            Task(
                name="hinge_cabinet",
                joint_goals={"left_hinge": -1.25},
                handles=("leftdoor_site",),
                base_center=(-0.25, 0.05, 0.2),
                horizon=100,
            ),
            Task(
                name="knob",
                joint_goals={"knob1": -1.57},
                handles=("knob1_site",),
                base_center=(0.0, 0.05, 0.0),
                horizon=120,
            ),
            Task(
                name="light",
                joint_goals={"light": -0.7},
                handles=("light_site",),
                horizon=75,
            ),
            Task(
                name="kettle",
                joint_goals={},
                handles=("kettle_site",),
                kettle_goal=(-0.26, 0.75, 1.6192),
                base_center=(0.05, -0.05, -0.03),
                horizon=120,
            ),
            Task(
                name="microwave_light",
                joint_goals={"microwave": -1.25, "light": -0.7},
                handles=("microhandle_site", "light_site"),
                base_center=(-0.05, 0.05, 0.0),
                horizon=180,
            ),
        )
    }
)


def get_task(name: str) -> Task:
    """The task of that name.

    Raises:
        UnknownNameError: there is no such task.
    """
    if name not in KITCHEN_TASKS:
        raise UnknownNameError("task", name, tuple(KITCHEN_TASKS))
    return KITCHEN_TASKS[name]
