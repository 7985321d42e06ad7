"""Copies a state of RoboHive's own kitchen into our scene of it.

All joints of the two are the same but the kettle's: three slides and three hinges there, one free
joint here. Their bodies stand in the same frames, so that poses and velocities carry over.
"""

import mujoco
import numpy as np

from envs.kitchen.env import KitchenEnv
from envs.kitchen.scene import BASE_BODY, KETTLE_JOINT
from envs.robohive.native.env import RoboHiveFK1Env
from envs.robohive.scene import JOINT_NAMES

_KETTLE_BODY = "kettle0"
_ROBOHIVES_BASE = "chef"


class KitchenMirror:
    """Keeps a kitchen of ours in the state of one of RoboHive's.

    Args:
        native: only read.
        ours: in RoboHive's scene (:class:`envs.robohive.RoboHiveKitchenEnv`); its model and data
            are written, its counters and generator are not.
    """

    def __init__(self, native: RoboHiveFK1Env, ours: KitchenEnv) -> None:
        self._native = native
        self._ours = ours
        theirs, own = native.model, ours.model
        single = [
            theirs.joint(index)
            for index in range(theirs.njnt)
            if not theirs.joint(index).name.startswith(f"{_KETTLE_BODY}:")
        ]
        names = [JOINT_NAMES.get(joint.name, joint.name) for joint in single]
        self._qpos = (
            [joint.qposadr[0] for joint in single],
            [own.joint(name).qposadr[0] for name in names],
        )
        self._dofs = (
            [joint.dofadr[0] for joint in single],
            [own.joint(name).dofadr[0] for name in names],
        )
        self._kettle = own.joint(KETTLE_JOINT)
        self._jacobian = np.zeros((6, theirs.nv))

    def update(self) -> None:
        """Give ours the present base, joints, velocities and commands, kinematics up to date."""
        native, ours = self._native, self._ours
        base = native.model.body(_ROBOHIVES_BASE).pos
        ours.model.body(BASE_BODY).pos[:] = base
        theirs, own = self._qpos
        ours.data.qpos[own] = native.data.qpos[theirs]
        theirs, own = self._dofs
        ours.data.qvel[own] = native.data.qvel[theirs]

        kettle = native.data.body(_KETTLE_BODY)
        position = self._kettle.qposadr[0]
        ours.data.qpos[position : position + 7] = [*kettle.xpos, *kettle.xquat]
        moving, turning = self._jacobian[:3], self._jacobian[3:]
        mujoco.mj_jacBody(native.model, native.data, moving, turning, kettle.id)
        velocity = self._kettle.dofadr[0]
        ours.data.qvel[velocity : velocity + 3] = moving @ native.data.qvel
        # A free joint turns in its body's own frame.
        ours.data.qvel[velocity + 3 : velocity + 6] = kettle.xmat.reshape(3, 3).T @ (
            turning @ native.data.qvel
        )
        ours.data.ctrl[:] = native.data.ctrl
        ours.data.time = native.data.time
        mujoco.mj_forward(ours.model, ours.data)
