"""What an expert sees of the kitchen: true poses, read from the simulation."""

from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np

from envs.kitchen.env import KitchenEnv
from envs.kitchen.inverse_kinematics import rotation_vector
from envs.kitchen.scene import END_EFFECTOR_SITE, KETTLE_JOINT, KITCHEN_BODY

OPEN = 0.04
"""Widest opening of each finger, meters."""

FINGERTIP = 0.043
"""How far the middle of the fingertips lies before the end effector's site, meters."""

KITCHEN_REST = np.array([-0.1, 0.75, 0.0])
"""Where the kitchen's body stands in the original scene, world meters."""


@dataclass(frozen=True)
class HandTarget:
    """Where the hand should go and how far its fingers should open.

    Attributes:
        position: of the end effector's site, world meters, (3,).
        rotation: of the hand, (3, 3), see :class:`envs.kitchen.inverse_kinematics.HandPose`.
        rotation_weights: meters that a radian of error about each axis of the hand counts, (3,).
        opening: of each finger, 0 (closed) to 0.04 meters.
    """

    position: np.ndarray
    rotation: np.ndarray
    rotation_weights: np.ndarray
    opening: float


def blend(first: HandTarget, second: HandTarget, share: float) -> HandTarget:
    """Goes from the first target (share 0) to the second (share 1), rotations along the arc."""
    quaternion = np.empty(4)
    turn = share * rotation_vector(second.rotation @ first.rotation.T)
    angle = float(np.linalg.norm(turn))
    mujoco.mju_axisAngle2Quat(quaternion, turn / max(angle, 1e-12), angle)
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return HandTarget(
        (1.0 - share) * first.position + share * second.position,
        matrix.reshape(3, 3) @ first.rotation,
        (1.0 - share) * first.rotation_weights + share * second.rotation_weights,
        (1.0 - share) * first.opening + share * second.opening,
    )


class SceneView:
    """Read access to the parts of the scene that strategies are computed from."""

    def __init__(self, env: KitchenEnv) -> None:
        self._env = env
        self.model: mujoco.MjModel = env.model
        self.data: mujoco.MjData = env.data

    @property
    def hand(self) -> np.ndarray:
        """Position of the end effector's site, world meters, (3,)."""
        return self.data.site(END_EFFECTOR_SITE).xpos

    @property
    def fingertip(self) -> np.ndarray:
        """Middle between the two fingertips, world meters, (3,)."""
        site = self.data.site(END_EFFECTOR_SITE)
        return site.xpos + FINGERTIP * site.xmat.reshape(3, 3)[:, 2]

    @property
    def fingers(self) -> np.ndarray:
        """Opening of each finger, meters, (2,)."""
        return self.data.qpos[self._env.robot_qpos[-2:]]

    def site(self, name: str) -> np.ndarray:
        """Position of a site, world meters, (3,)."""
        return self.data.site(name).xpos

    def joint(self, name: str) -> float:
        """Position of a hinge or slide joint of the kitchen, radians or meters."""
        return float(self.data.qpos[self.model.joint(name).qposadr[0]])

    def anchor(self, name: str) -> np.ndarray:
        """A point on a hinge's axis, world meters, (3,)."""
        return self.data.xanchor[self.model.joint(name).id]

    @property
    def kettle(self) -> np.ndarray:
        """Position of the kettle's foot, world meters, (3,)."""
        address = self.model.joint(KETTLE_JOINT).qposadr[0]
        return self.data.qpos[address : address + 3]

    @property
    def kettle_goal(self) -> np.ndarray:
        """Where the task wants the kettle, world meters, (3,)."""
        goal = np.asarray(self._env.task.kettle_goal)
        if self._env.randomization.kettle_stays:
            return goal
        return goal + (self.data.body(KITCHEN_BODY).xpos - KITCHEN_REST)


class Strategy(Protocol):
    """Chooses the hand's target from the present state; keeps nothing between calls."""

    def target(self, scene: SceneView) -> HandTarget:
        """Where the hand should go now."""
        ...
