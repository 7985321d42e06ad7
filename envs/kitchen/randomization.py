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
"""

from dataclasses import dataclass
from typing import Literal

from egodtm_robot.core.errors import UnknownNameError


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
    """

    name: str
    moves: Literal["base", "kitchen"]
    half_extent: tuple[float, float, float] = (0.1, 0.1, 0.1)
    joint_noise: float = 0.05
    about_task_center: bool = False
    redraw_in_contact: bool = False
    horizon: int | None = None


RANDOMIZATIONS: dict[str, Randomization] = {
    preset.name: preset
    for preset in (
        Randomization("fk1", moves="base", horizon=50),
        Randomization("r3m", moves="kitchen", redraw_in_contact=True, horizon=50),
        Randomization("default", moves="base", about_task_center=True, redraw_in_contact=True),
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
