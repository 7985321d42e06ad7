"""RoboHive's own FK1 environments under the contract of :mod:`envs.contract`."""

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np

from envs.cameras import CameraChoice, resolve_cameras
from envs.contract import Demonstrator
from envs.kitchen.progress import share_done
from envs.kitchen.scene import ARM_JOINTS, ROBOT_JOINTS
from envs.kitchen.tasks import SUCCESS_STEPS
from envs.mujoco_environment import MujocoEnvironment
from envs.robohive.native.cameras import FK1_CAMERAS
from envs.robohive.native.config import FK1Config
from envs.robohive.native.package import make_kitchen
from envs.robohive.native.scene import build_model, textured_model
from envs.robohive.native.tasks import FK1_TASKS, Variant, get_task

HORIZON = 50
"""Control steps of an episode, as RoboHive registers FK1's tasks."""


class RoboHiveFK1Env(MujocoEnvironment):
    """An environment of the package robohive itself: its class resets, steps, rewards and judges.

    Actions are nine joint velocities in [-1, 1], as in :class:`envs.kitchen.KitchenEnv`.
    ``proprioception`` (24,) is RoboHive's: nine joint positions (rad, m), nine velocities (of a
    control step: rad, m), the end effector's position (m) and Euler angles (rad) relative to the
    robot's base. ``privileged`` (18,): displacement of the base (m), then RoboHive's ``objs_jnt``,
    nine kitchen joints and six of the kettle.

    The reward is RoboHive's dense one. An episode always lasts to its horizon, as in RoboHive, and
    succeeds when it was solved on more than five steps (its ``evaluate_success``).

    Seeds are exact: RoboHive's ``reset(seed=)`` ignores the seed, so its generator is the one that
    Gymnasium seeds. ``env.reset(seed=3)`` is RoboHive's ``seed(3)`` and ``reset()``.

    Args:
        task: one of :data:`envs.robohive.native.tasks.FK1_TASKS`.
        variant: of the task, ``random`` or ``fixed``.
        cameras: names of :data:`FK1_CAMERAS` or free ones; empty: no images.
        resolution: image height and width, pixels; one number for square images.
        quality: ``fast`` or ``full``; RoboHive's own pictures are ``full``.
        modalities: which images an observation holds.
        horizon: control steps of an episode; None takes RoboHive's 50.
        render_mode: ``rgb_array`` lets :meth:`render` draw.
        render_resolution: height and width of what :meth:`render` draws, pixels.

    Raises:
        RoboHiveNotFoundError: the package or what it imports is not installed.
        RoboHiveVersionError: dm_control does not know the installed MuJoCo.
        SimhiveNotFoundError: RoboHive's assets are not there.
        UnknownNameError: a task, camera or modality is unknown.
        CameraError: a free camera is incomplete, or two cameras share a name.
        RenderingError: the resolution is not positive.
    """

    kind = "robohive_fk1"
    tasks = tuple(FK1_TASKS)
    own_cameras = FK1_CAMERAS
    config_class = FK1Config
    license = "Apache-2.0"
    success_steps = SUCCESS_STEPS
    ends_on_success = False
    film_camera = "left_cam"

    def __init__(
        self,
        task: str = "microwave",
        variant: Variant = "random",
        cameras: Sequence[CameraChoice] = ("wrist",),
        resolution: int | tuple[int, int] = 112,
        quality: str = "fast",
        modalities: Sequence[str] = ("rgb",),
        horizon: int | None = None,
        render_mode: str | None = None,
        render_resolution: int = 256,
    ) -> None:
        self.task = get_task(task)
        self.variant = variant
        resolved = resolve_cameras(cameras, FK1_CAMERAS)
        free = [camera for camera in resolved if camera.name not in FK1_CAMERAS]
        self.kitchen = make_kitchen(self.task.environment(variant), build_model(free))
        """The environment of robohive, an instance of its ``FrankaKitchen``."""
        model: mujoco.MjModel = self.kitchen.sim.model.ptr
        super().__init__(
            model,
            task=task,
            cameras=resolved,
            control_dt=float(self.kitchen.dt),
            horizon=HORIZON if horizon is None else horizon,
            noisy_actions=[name in ARM_JOINTS for name in ROBOT_JOINTS],
            resolution=resolution,
            quality=quality,
            modalities=modalities,
            render_mode=render_mode,
            render_resolution=render_resolution,
            data=self.kitchen.sim.data.ptr,
            assets=textured_model,
        )
        self._base = int(self.kitchen.robot_base_bid)
        self._base_rest = np.array(self.kitchen.robot_base_pos, np.float64)
        dofs = self.kitchen.obj["dof_adrs"]
        self._start = self.kitchen.init_qpos[dofs].copy()
        self._last_reward = 0.0

    @property
    def randomization_name(self) -> str:
        """The variant, as a reset preset is named."""
        return f"robohive_{self.variant}"

    def demonstrator(self) -> Demonstrator:
        """The scripted expert of our kitchens, which sees this one mirrored into ours.

        Raises:
            NoDemonstratorError: no expert does the task.
        """
        if not self.task.expert:
            return super().demonstrator()
        from envs.robohive.native.expert import MirroredExpert  # it acts on this class

        return MirroredExpert(self)

    # -- episode ---------------------------------------------------------------------------------

    def _begin_episode(self) -> None:
        self.kitchen.np_random = self.np_random
        self.kitchen.reset()
        self._last_reward = 0.0

    def _execute(self, action: np.ndarray) -> None:
        _, reward, *_ = self.kitchen.step(action)
        self._last_reward = float(reward)

    def _reward(self) -> float:
        return self._last_reward

    def _observed(self) -> dict[str, Any]:
        """RoboHive's own dictionary of the present state."""
        observed: dict[str, Any] = self.kitchen.get_obs_dict(self.kitchen.sim_obsd)
        return observed

    def is_solved(self) -> bool:
        """RoboHive's ``solved`` of the present state."""
        return bool(self.kitchen.get_reward_dict(self._observed())["solved"])

    def progress(self) -> float:
        """The share of the way that is done, 0 to 1: the mean over the joints that the task moves.

        A joint's way leads from where RoboHive's reset puts it to within RoboHive's threshold.
        """
        near = self.kitchen.obj["dof_proximity"]
        way = np.abs(self.kitchen.obj_goal - self._start)
        left = np.abs(self._observed()["goal_err"])
        moved = np.flatnonzero(way > near)
        return float(np.mean([share_done(left[i], way[i], near[i]) for i in moved]))

    def _proprioception(self) -> np.ndarray:
        values: np.ndarray = self.kitchen.get_proprioception(self._observed())[1]
        return values

    def _privileged(self) -> np.ndarray:
        displacement = self.model.body_pos[self._base] - self._base_rest
        return np.concatenate([displacement, self._observed()["objs_jnt"]])

    # -- state -----------------------------------------------------------------------------------

    def reset_record(self) -> dict[str, np.ndarray]:
        """``displacement`` (3,) of the robot's base, meters."""
        return {"displacement": self.model.body_pos[self._base] - self._base_rest}

    def _apply_reset_record(self, record: Mapping[str, np.ndarray]) -> None:
        self.model.body_pos[self._base] = self._base_rest + record["displacement"]
