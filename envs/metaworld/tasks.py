"""The tasks of Meta-World that CortexBench uses: what is left to do in each.

Success is Meta-World's own (Yu et al., 2019), and an episode succeeds at its first solved step, as
CortexBench counts it (Majumdar et al., 2023). The distances here say how far a state is from that:
they are 0 where the task is solved and positive elsewhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from egodtm_robot.core.errors import UnknownNameError

Sawyer = Any
"""An environment of the package metaworld, which has no types for its parts."""


@dataclass(frozen=True)
class MetaWorldTask:
    """One task.

    Attributes:
        name: as in ``env=metaworld_<name>``.
        environment: what Meta-World calls it.
        distance: what is left to do in an environment's present state, meters.
        fixture: body of the model that a reset moves; empty: none.
        margin: attribute of the environment that scales its reward and is set once an episode;
            empty: none.
    """

    name: str
    environment: str
    distance: Callable[[Sawyer], float]
    fixture: str = ""
    margin: str = ""


def _assembly(sawyer: Sawyer) -> float:
    """How far the nut's center is beside the peg, beyond 2 cm, and above the peg's top."""
    beside_and_above = sawyer.data.site("RoundNut").xpos - sawyer._target_pos
    beside = max(float(np.linalg.norm(beside_and_above[:2])) - 0.02, 0.0)
    return beside + max(float(beside_and_above[2]), 0.0)


def _bin_picking(sawyer: Sawyer) -> float:
    """How far the cube is from the other bin's center, beyond 5 cm."""
    apart = np.linalg.norm(sawyer.data.body("obj").xpos - sawyer._target_pos)
    return max(float(apart) - 0.05, 0.0)


def _button_press(sawyer: Sawyer) -> float:
    """How far the button still has to go down, beyond 24 mm."""
    button = sawyer._get_pos_objects()[2]
    return max(abs(float(button - sawyer._target_pos[2])) - 0.024, 0.0)


def _drawer_open(sawyer: Sawyer) -> float:
    """How far the handle is from where it is with the drawer open by 20 cm, beyond 3 cm."""
    apart = np.linalg.norm(sawyer._get_pos_objects() - sawyer._target_pos)
    return max(float(apart) - 0.03, 0.0)


def _hammer(sawyer: Sawyer) -> float:
    """How far the nail still has to go in, of 9 cm."""
    return max(0.09 - float(sawyer.data.joint("NailSlideJoint").qpos[0]), 0.0)


METAWORLD_TASKS: Mapping[str, MetaWorldTask] = MappingProxyType(
    {
        task.name: task
        for task in (
            MetaWorldTask("assembly", "assembly-v3", _assembly, fixture="peg"),
            MetaWorldTask(
                "bin_picking", "bin-picking-v3", _bin_picking, margin="_target_to_obj_init"
            ),
            MetaWorldTask(
                "button_press_topdown",
                "button-press-topdown-v3",
                _button_press,
                fixture="box",
                margin="_obj_to_target_init",
            ),
            MetaWorldTask("drawer_open", "drawer-open-v3", _drawer_open, fixture="drawer"),
            MetaWorldTask("hammer", "hammer-v3", _hammer),
        )
    }
)


def get_task(name: str) -> MetaWorldTask:
    """The task of that name.

    Raises:
        UnknownNameError: there is no such task.
    """
    if name not in METAWORLD_TASKS:
        raise UnknownNameError("task", name, tuple(METAWORLD_TASKS))
    return METAWORLD_TASKS[name]
