"""Inverse kinematics of the arm: one bounded step towards a pose, or a posture that reaches it.

Both solve the same small quadratic program with daqp: damped least squares on the error of the
hand's pose, inside a box made of the joints' ranges and of what the motors can do in a step.
"""

from ctypes import c_int
from dataclasses import dataclass

import daqp
import mujoco
import numpy as np

from envs.kitchen.scene import ARM_JOINTS, END_EFFECTOR_SITE, ROBOT_REST

STEP_LIMIT = np.array([0.07, 0.07, 0.07, 0.07, 0.095, 0.095, 0.095])
"""Largest change of each arm joint in one control step of 0.08 s that the motors manage, radians.

Motor force over joint damping bounds the speed: 87 / 100 rad/s and 12 / 10 rad/s.
"""

_LIMIT_MARGIN = 0.03
_DAMPING = 3e-4
_POSTURE = 4e-4
_NO_CONSTRAINTS = np.zeros((0, len(ARM_JOINTS)))
_BOX_SENSE = np.zeros(len(ARM_JOINTS), dtype=c_int)


@dataclass(frozen=True)
class HandPose:
    """Where the hand should be.

    Attributes:
        position: of the end effector's site, world meters, (3,).
        rotation: of the hand, (3, 3); its columns are the axis across the palm's thickness, the
            axis along which the fingers open and the axis along which they point.
        rotation_weights: meters that a radian of error about each of those axes counts, (3,).
    """

    position: np.ndarray
    rotation: np.ndarray
    rotation_weights: np.ndarray


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Axis times angle of a rotation matrix, radians, (3,)."""
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, matrix.ravel())
    vector = np.empty(3)
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector


class DifferentialIK:
    """Joint displacements that bring the hand towards a pose, within the joints' bounds.

    Args:
        model: the kitchen.
        posture: arm joints (7,) that redundancy is resolved towards; FK1's rest by default.
    """

    def __init__(self, model: mujoco.MjModel, posture: np.ndarray | None = None) -> None:
        self.model = model
        self.site = model.site(END_EFFECTOR_SITE).id
        joints = [model.joint(name) for name in ARM_JOINTS]
        self.qpos = np.array([joint.qposadr[0] for joint in joints])
        self.dofs = np.array([joint.dofadr[0] for joint in joints])
        ranges = np.array([joint.range for joint in joints])
        self.lower = ranges[:, 0] + _LIMIT_MARGIN
        self.upper = ranges[:, 1] - _LIMIT_MARGIN
        self.posture = np.asarray(ROBOT_REST[: len(ARM_JOINTS)] if posture is None else posture)
        self._jacobian = np.zeros((6, model.nv))

    def pose_error(self, data: mujoco.MjData, pose: HandPose) -> tuple[np.ndarray, np.ndarray]:
        """Position error (3,), meters, and rotation vector (3,), radians, from hand to pose."""
        rotation = data.site_xmat[self.site].reshape(3, 3)
        return (
            pose.position - data.site_xpos[self.site],
            rotation_vector(pose.rotation @ rotation.T),
        )

    def displacement(
        self,
        data: mujoco.MjData,
        pose: HandPose,
        translation: np.ndarray,
        turn: np.ndarray,
        step_limit: np.ndarray = STEP_LIMIT,
    ) -> np.ndarray:
        """Change of the arm's joints (7,), radians, for a wanted motion of the hand.

        Args:
            data: state with up-to-date kinematics (``mj_kinematics`` and ``mj_comPos``).
            pose: gives the rotation's weights and the frame they are meant in.
            translation: wanted displacement of the end effector, meters, (3,).
            turn: wanted rotation vector in the world, radians, (3,).
            step_limit: bound of each joint's change, radians, (7,).
        """
        q = data.qpos[self.qpos]
        mujoco.mj_jacSite(self.model, data, self._jacobian[:3], self._jacobian[3:], self.site)
        jacobian = self._jacobian[:, self.dofs]
        to_pose_frame = pose.rotation_weights[:, None] * pose.rotation.T
        task = np.vstack([jacobian[:3], to_pose_frame @ jacobian[3:]])
        wanted = np.concatenate([translation, to_pose_frame @ turn])
        hessian = task.T @ task + (_DAMPING + _POSTURE) * np.eye(len(q))
        to_posture = 0.1 * np.clip(self.posture - q, -0.5, 0.5)
        gradient = -(task.T @ wanted) - _POSTURE * to_posture
        upper = np.minimum(step_limit, np.maximum(self.upper - q, 0.0))
        lower = np.maximum(-step_limit, np.minimum(self.lower - q, 0.0))
        step, _, flag, _ = daqp.solve(hessian, gradient, _NO_CONSTRAINTS, upper, lower, _BOX_SENSE)
        if flag < 1:
            raise RuntimeError(f"daqp could not solve a step of inverse kinematics (flag {flag}).")
        return np.asarray(step)


class PostureSearch:
    """Looks for a posture of the arm that puts the end effector on a point; ignores collisions."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._ik = DifferentialIK(model)
        self._model = model
        self._data = mujoco.MjData(model)

    def reaches(
        self,
        point: np.ndarray,
        direction: np.ndarray,
        position_tolerance: float,
        pointing_tolerance: float,
        *,
        generator: np.random.Generator,
        starts: int,
        iterations: int = 60,
    ) -> bool:
        """Whether a posture was found, from the arm's rest or one of a few drawn postures.

        Args:
            point: where the end effector should be, world meters, (3,).
            direction: where the fingers should point, unit vector, (3,).
            position_tolerance: how far the end effector may be from the point, meters.
            pointing_tolerance: how far the fingers may deviate from the direction, radians.
            generator: draws the postures to start from.
            starts: how many postures to start from, the rest included.
            iterations: steps of inverse kinematics from each start.
        """
        ik, data = self._ik, self._data
        step_limit = np.full(len(ARM_JOINTS), 0.3)
        for start in range(starts):
            data.qpos[ik.qpos] = (
                np.clip(ik.posture, ik.lower, ik.upper)
                if start == 0
                else generator.uniform(ik.lower, ik.upper)
            )
            for _ in range(iterations):
                mujoco.mj_kinematics(self._model, data)
                mujoco.mj_comPos(self._model, data)
                rotation = data.site_xmat[ik.site].reshape(3, 3)
                offset = point - data.site_xpos[ik.site]
                deviation = float(np.arccos(np.clip(rotation[:, 2] @ direction, -1.0, 1.0)))
                if np.linalg.norm(offset) < position_tolerance and deviation < pointing_tolerance:
                    return True
                axis = np.cross(rotation[:, 2], direction)
                axis /= max(float(np.linalg.norm(axis)), 1e-9)
                # Aim a little inside the cone, else the search ends on its edge.
                turn = axis * min(max(deviation - 0.8 * pointing_tolerance, 0.0), 0.5)
                offset *= min(1.0, 0.2 / max(float(np.linalg.norm(offset)), 1e-9))
                pose = HandPose(point, rotation, np.full(3, 0.3))
                data.qpos[ik.qpos] += ik.displacement(data, pose, offset, turn, step_limit)
        return False
