"""What a reset randomizes: where the robot (or the kitchen) stands and how the joints start.

===========  ===================  ==========================================  ==================
preset       what moves           box, meters                                 horizon, steps
===========  ===================  ==========================================  ==================
``fk1``      the robot's base     +-0.1 in x, y, z about the nominal base     50
``r3m``      the kitchen          +-0.1 in x, y, z, redrawn while in contact  50
``default``  the robot's base     +-0.1 in x, y, z about the task's center,   the task's own,
                                  redrawn while in contact                    with room to recover
===========  ===================  ==========================================  ==================

All presets add joint noise: each robot joint starts at its rest position plus a uniform draw of
width 0.05 times its range (FK1). A task of two parts has twice the horizon of 50.

Two further presets follow their sources in what the first two leave out:

- ``fk1_v4`` is ``fk1`` as RoboHive 0.7.0 has it: the second joint starts at -1.8 rad at the least,
  the kettle must not be turned by 15 degrees about any axis, and an episode always lasts its steps.
- ``r3m_v005`` is ``r3m`` as RoboHive v0.0.5 has it, which R3M was evaluated in: the kettle stays in
  the world when the kitchen moves and counts as in its place within 0.45 m and 54 degrees, the
  robot's pedestal does not collide, and an episode always lasts its steps. One thing differs: there
  the kitchen is drawn again while more than four contacts are left after a physics step of the
  state that the *previous* episode ended in; here, as in ``r3m``, while the robot touches it, so
  that a seed is enough.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np

from egodtm_robot.core.errors import UnknownNameError
from envs.kitchen.tasks import KETTLE_TOLERANCE


@dataclass(frozen=True)
class Randomization:
    """A reset preset; see the module's table.

    Attributes:
        name: as in ``env.randomization=``.
        moves: whether the robot's base or the kitchen is displaced.
        half_extent: half the box's edge in each axis, meters.
        joint_noise: width of the uniform joint noise as a share of the joint's range.
        about_task_center: the box lies about the task's ``base_center``, not the nominal base.
        redraw_in_contact: draw again while the robot touches the kitchen.
        horizon: steps a part of the task; None takes the task's own horizon.
        lowest_joint2: least starting position of the arm's second joint, radians.
        kettle_stays: the kettle does not move with the kitchen, nor does its goal.
        kettle_tolerance: largest distance of the kettle to its goal along each axis, meters.
        kettle_turn: largest rotation of the kettle about each axis, radians; None: any.
        pedestal_collides: whether the cylinder under the robot does, where it is there to collide.
        ends_on_success: an episode ends when it has succeeded, or always lasts its steps.
    """

    name: str
    moves: Literal["base", "kitchen"]
    half_extent: tuple[float, float, float] = (0.1, 0.1, 0.1)
    joint_noise: float = 0.05
    about_task_center: bool = False
    redraw_in_contact: bool = False
    horizon: int | None = None
    lowest_joint2: float | None = None
    kettle_stays: bool = False
    kettle_tolerance: float = KETTLE_TOLERANCE
    kettle_turn: float | None = None
    pedestal_collides: bool = True
    ends_on_success: bool = True

    def settings(self) -> dict[str, Any]:
        """All that decides what a reset draws and how it is judged, as plain JSON.

        Settings that came later are left out where they change nothing, so that results of before
        still name the same preset.
        """
        later = {name for name in _ADDED_SETTINGS if getattr(self, name) == _ADDED_SETTINGS[name]}
        return {name: value for name, value in asdict(self).items() if name not in later}


_ADDED_SETTINGS = {
    field.name: field.default
    for field in fields(Randomization)
    if field.name
    in (
        "lowest_joint2",
        "kettle_stays",
        "kettle_tolerance",
        "kettle_turn",
        "pedestal_collides",
        "ends_on_success",
    )
}

RANDOMIZATIONS: dict[str, Randomization] = {
    preset.name: preset
    for preset in (
        Randomization("fk1", moves="base", horizon=50),
        Randomization("r3m", moves="kitchen", redraw_in_contact=True, horizon=50),
        Randomization("default", moves="base", about_task_center=True, redraw_in_contact=True),
        Randomization(
            "fk1_v4",
            moves="base",
            horizon=50,
            lowest_joint2=-1.8,
            kettle_turn=float(np.radians(15.0)),
            ends_on_success=False,
        ),
        Randomization(
            "r3m_v005",
            moves="kitchen",
            horizon=50,
            redraw_in_contact=True,
            kettle_stays=True,
            # 0.15 of the ranges of the kettle's joints there, 3 m and 6.28 rad.
            kettle_tolerance=0.45,
            kettle_turn=0.15 * 6.28,
            pedestal_collides=False,
            ends_on_success=False,
        ),
    )
}


def get_randomization(name: str) -> Randomization:
    """The reset preset of that name.

    Raises:
        UnknownNameError: there is no such preset.
    """
    if name not in RANDOMIZATIONS:
        raise UnknownNameError("randomization preset", name, tuple(RANDOMIZATIONS))
    return RANDOMIZATIONS[name]
