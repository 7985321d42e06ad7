"""Whether the arm can reach a task's handle from where its base stands, by kinematics alone.

Independent of the experts: nothing here knows how a handle is taken. A handle is in reach when
there are postures within the joints' ranges that put the end effector on it: where it is now, with
the fingers pointing into the kitchen, and where it is when the task is first solved, with the
fingers pointing anywhere. Along a bar any place will do. Collisions are left out.
"""

from collections.abc import Iterator

import mujoco
import numpy as np

from envs.kitchen.env import KitchenEnv
from envs.kitchen.inverse_kinematics import PostureSearch
from envs.kitchen.scene import KETTLE_JOINT
from envs.kitchen.tasks import JOINT_TOLERANCE, KETTLE_REST

POSITION_TOLERANCE = 0.05
"""The end effector may stop this far from the handle, meters: the fingers reach beyond it."""

POINTING_TOLERANCE = np.radians(75.0)
"""The fingers may deviate this far from pointing straight into the kitchen at first, radians."""

BAR_HALF_LENGTH = {"microhandle_site": 0.1, "slide_site": 0.1, "leftdoor_site": 0.1}
"""How far an upright bar can be held above and below its middle, meters (less than its length,
which ends in the bar's mounts); other handles are reached at their middle."""

_STARTS = 4
_INTO_KITCHEN = np.array([0.0, 1.0, 0.0])


def handle_in_reach(env: KitchenEnv) -> bool:
    """Whether every handle of the task is in reach before and after it is moved.

    Args:
        env: just reset; it is only read.
    """
    search = PostureSearch(env.model)
    generator = np.random.default_rng(0)
    return all(
        any(
            search.reaches(
                point + np.array([0.0, 0.0, height]),
                _INTO_KITCHEN,
                POSITION_TOLERANCE,
                pointing_tolerance,
                generator=generator,
                starts=_STARTS,
            )
            for height in _heights(handle)
        )
        for handle, point, pointing_tolerance in _handle_points(env)
    )


def _heights(handle: str) -> tuple[float, ...]:
    half_length = BAR_HALF_LENGTH.get(handle)
    return (0.0,) if half_length is None else (0.0, -half_length, half_length)


def _handle_points(env: KitchenEnv) -> Iterator[tuple[str, np.ndarray, float]]:
    """Each handle, its world position (3,) and the pointing tolerance: as it is, then moved."""
    scratch = mujoco.MjData(env.model)
    scratch.qpos[:] = env.data.qpos
    kettle = env.model.joint(KETTLE_JOINT).qposadr[0]
    goals = list(env.task.joint_goals.items())
    for index, handle in enumerate(env.task.handles):
        mujoco.mj_kinematics(env.model, scratch)
        yield handle, scratch.site(handle).xpos.copy(), POINTING_TOLERANCE
        if goals:
            name, goal = goals[index]
            joint = env.model.joint(name)
            # As soon as the joint counts as solved.
            near = abs(goal) - JOINT_TOLERANCE * np.ptp(joint.range)
            scratch.qpos[joint.qposadr[0]] = np.copysign(near, goal)
        else:
            scratch.qpos[kettle : kettle + 3] += np.subtract(env.task.kettle_goal, KETTLE_REST)
        mujoco.mj_kinematics(env.model, scratch)
        yield handle, scratch.site(handle).xpos.copy(), np.pi
