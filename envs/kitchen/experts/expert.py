"""The experts' controller: a strategy's target turned into an action."""

from dataclasses import dataclass

import numpy as np

from envs.kitchen.env import VELOCITY_SCALE, KitchenEnv
from envs.kitchen.experts.scene_view import SceneView, Strategy
from envs.kitchen.experts.strategies import FROM_NOMINAL_BASE, STRATEGIES
from envs.kitchen.inverse_kinematics import DifferentialIK, HandPose
from envs.kitchen.scene import ARM_JOINTS

EXPERT_VERSION = "1"
"""Changes whenever an expert acts differently; stored with demonstrations."""


@dataclass(frozen=True)
class Pace:
    """How fast the hand goes.

    Attributes:
        gain: share of the hand's error that a step removes when it is small.
        speed: largest displacement of the hand that a step asks for, meters.
        turn: largest rotation of the hand that a step asks for, radians.
    """

    gain: float
    speed: float
    turn: float


STEADY = Pace(gain=0.6, speed=0.06, turn=0.2)

HURRIED = Pace(gain=0.9, speed=0.2, turn=0.3)
"""As fast as the motors allow: the nominal base leaves no time to spare for the hinged cabinet."""


class Expert:
    """Does a task from any state, one action at a time.

    Args:
        env: the environment to act in; only its model and data are read.
        strategy: chooses where the hand should go.
        pace: how fast it goes there.
    """

    version = EXPERT_VERSION

    def __init__(self, env: KitchenEnv, strategy: Strategy, pace: Pace = STEADY) -> None:
        self._env = env
        self._pace = pace
        self._scene = SceneView(env)
        self._strategy = strategy
        self._ik = DifferentialIK(env.model)
        self._arm = env.robot_qpos[: len(ARM_JOINTS)]
        self._arm_dofs = env.robot_dofs[: len(ARM_JOINTS)]
        self._fingers = env.robot_qpos[len(ARM_JOINTS) :]
        self._stiffness = env.model.actuator_gainprm[: len(ARM_JOINTS), 0].copy()
        # The motors are springs against joint damping: in a step a joint covers only this share
        # of the way to its command.
        damping = env.model.dof_damping[self._arm_dofs]
        self._covered = 1.0 - np.exp(-env.control_dt * self._stiffness / damping)

    def reset(self) -> None:
        """Begins an episode. An expert remembers nothing, so there is nothing to do."""

    def act(self) -> np.ndarray:
        """The action for the present state, float64 (9,) in [-1, 1]."""
        data = self._env.data
        target = self._strategy.target(self._scene)
        pose = HandPose(target.position, target.rotation, target.rotation_weights)
        offset, turn = self._ik.pose_error(data, pose)
        step = self._ik.displacement(
            data,
            pose,
            _saturate(self._pace.gain * offset, self._pace.speed),
            _saturate(self._pace.gain * turn, self._pace.turn),
        )
        # Commands are relative to the present position, so the arm would sag without this.
        sag = data.qfrc_bias[self._arm_dofs] / self._stiffness
        scale = VELOCITY_SCALE * self._env.control_dt
        action = np.empty(len(self._env.robot_qpos))
        action[: len(ARM_JOINTS)] = (step / self._covered + sag) / scale
        action[len(ARM_JOINTS) :] = (target.opening - data.qpos[self._fingers]) / scale
        return np.clip(action, -1.0, 1.0)


def _saturate(vector: np.ndarray, limit: float) -> np.ndarray:
    """The vector, smoothly shortened to at most ``limit``."""
    length = float(np.linalg.norm(vector))
    if length < 1e-9:
        return vector
    return vector * (limit * np.tanh(length / limit) / length)


def make_expert(env: KitchenEnv) -> Expert:
    """The expert of the environment's task under its resets."""
    if not env.randomization.about_task_center and env.task.name in FROM_NOMINAL_BASE:
        return Expert(env, FROM_NOMINAL_BASE[env.task.name], HURRIED)
    return Expert(env, STRATEGIES[env.task.name])
