"""Meta-World's tasks under the contract of :mod:`envs.contract`."""

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from envs.cameras import CameraChoice, resolve_cameras
from envs.contract import Demonstrator
from envs.metaworld.cameras import METAWORLD_CAMERAS
from envs.metaworld.config import MetaWorldConfig
from envs.metaworld.sawyer import TexturedModel, make_sawyer
from envs.metaworld.tasks import METAWORLD_TASKS, get_task
from envs.mujoco_environment import MujocoEnvironment

HORIZON = 500
"""Control steps of an episode, as in Meta-World and CortexBench."""


class MetaWorldEnv(MujocoEnvironment):
    """A Sawyer arm at a table, with one of Meta-World's tasks to do.

    Actions are four numbers in [-1, 1]: three displacements of the hand of up to 1 cm along x, y
    and z, and the effort that closes the gripper. A control step takes 12.5 ms.

    Observations hold ``proprioception`` (4,): the hand's position, world meters, and the opening of
    the gripper from 0 to 1, as CortexBench gives them to policies; ``privileged`` (17,): position
    (meters) and quaternion (w, x, y, z) of the task's one or two objects, zeros where there is no
    second one, and the goal's position; and images, see :class:`RobotEnvironment`.

    The reward is Meta-World's own, 0 to 10. The episode terminates at its first solved step and is
    truncated at the horizon.

    Every reset begins from the same model, so that a seed alone decides an episode. Meta-World's
    own environments keep a fixture where the last episode had put it while the hand is reset, and
    after a reset they show it there; here the kinematics are brought up to date first.

    Args:
        task: one of :data:`envs.metaworld.tasks.METAWORLD_TASKS`.
        cameras: names of Meta-World's cameras or free ones, see
            :func:`envs.cameras.resolve_cameras`; empty: no images.
        resolution: image height and width, pixels; one number for square images.
        quality: ``fast`` or ``full``, see :mod:`egodtm_robot.core.drawing.offscreen`.
        modalities: which images an observation holds.
        horizon: control steps of an episode; None takes 500.
        render_mode: ``rgb_array`` lets :meth:`render` draw.
        render_resolution: height and width of what :meth:`render` draws, pixels.

    Raises:
        MetaWorldNotFoundError: the package metaworld is not installed.
        UnknownNameError: a task, camera or modality is unknown.
        CameraError: a free camera is incomplete, or two cameras share a name.
        RenderingError: the resolution is not positive.
    """

    kind = "metaworld"
    tasks = tuple(METAWORLD_TASKS)
    own_cameras = METAWORLD_CAMERAS
    config_class = MetaWorldConfig
    license = "MIT"
    film_camera = "side"

    def __init__(
        self,
        task: str = "drawer_open",
        cameras: Sequence[CameraChoice] = ("side",),
        resolution: int | tuple[int, int] = 112,
        quality: str = "fast",
        modalities: Sequence[str] = ("rgb",),
        horizon: int | None = None,
        render_mode: str | None = None,
        render_resolution: int = 256,
    ) -> None:
        self.task = get_task(task)
        resolved = resolve_cameras(cameras, METAWORLD_CAMERAS)
        self._sawyer = make_sawyer(self.task.environment, resolved)
        super().__init__(
            self._sawyer.model,
            task=task,
            cameras=resolved,
            control_dt=self._sawyer.dt,
            horizon=HORIZON if horizon is None else horizon,
            noisy_actions=[True, True, True, False],
            resolution=resolution,
            quality=quality,
            modalities=modalities,
            render_mode=render_mode,
            render_resolution=render_resolution,
            data=self._sawyer.data,
            assets=TexturedModel(self._sawyer.fullpath),
        )
        self._nominal_bodies = self.model.body_pos.copy()
        self._nominal_sites = self.model.site_pos.copy()
        self._fixture = self.model.body(self.task.fixture).id if self.task.fixture else None
        self._last_reward = 0.0
        self._start_distance = 0.0
        # The record of an episode is read from the simulator, so there must have been one.
        self._begin_episode()

    def demonstrator(self) -> Demonstrator:
        """Meta-World's own scripted policy for the task."""
        from envs.metaworld.expert import ScriptedExpert  # it acts on this class

        return ScriptedExpert(self)

    # -- episode ---------------------------------------------------------------------------------

    def _begin_episode(self) -> None:
        self.model.body_pos[:] = self._nominal_bodies
        self.model.site_pos[:] = self._nominal_sites
        self._sawyer.np_random = self.np_random
        self._sawyer.reset()
        mujoco.mj_forward(self.model, self.data)
        if self.task.margin:
            # Bin picking would set it at its first step, which a restored state may not pass.
            self._sawyer.evaluate_state(self.sawyer_observation(), np.zeros(4))
        self._start_distance = self.task.distance(self._sawyer)

    def _execute(self, action: np.ndarray) -> None:
        _, reward, _, _, _ = self._sawyer.step(action)
        self._last_reward = float(reward)

    def _reward(self) -> float:
        return self._last_reward

    def is_solved(self) -> bool:
        """Meta-World's own success of the present state."""
        _, info = self._sawyer.evaluate_state(self.sawyer_observation(), np.zeros(4))
        return bool(info["success"])

    def progress(self) -> float:
        """The share of the task's distance that is covered, 0 to 1.

        Distances are those of :mod:`envs.metaworld.tasks`; the way begins where the reset left it.
        """
        return float(np.clip(1.0 - self.task.distance(self._sawyer) / self._start_distance, 0, 1))

    def sawyer_observation(self) -> np.ndarray:
        """Meta-World's own observation of the present state, float64 (39,).

        Hand and objects (18,), the same again in place of those one step before, and the goal.
        """
        present = self._sawyer._get_curr_obs_combined_no_goal()
        return np.concatenate([present, present, self._sawyer._target_pos])

    def _proprioception(self) -> np.ndarray:
        return self.sawyer_observation()[:4]

    def _privileged(self) -> np.ndarray:
        observation = self.sawyer_observation()
        return np.concatenate([observation[4:18], observation[36:]])

    # -- state -----------------------------------------------------------------------------------

    def reset_record(self) -> dict[str, np.ndarray]:
        """What the reset drew outside MuJoCo's state, and what the reward measures against.

        ``goal``, ``object_start`` and ``hand_start`` (3,) world meters; ``fixture`` (3,) where the
        moved part of the scene stands; ``margins`` (2,) meters, of the reward and of the progress.
        """
        sawyer = self._sawyer
        fixture = np.zeros(3) if self._fixture is None else self.model.body_pos[self._fixture]
        margin = getattr(sawyer, self.task.margin) if self.task.margin else 0.0
        return {
            "goal": np.array(sawyer._target_pos, np.float64),
            "object_start": np.array(sawyer.obj_init_pos, np.float64),
            "hand_start": np.array(sawyer.init_tcp, np.float64),
            "fixture": fixture.copy(),
            "margins": np.array([margin, self._start_distance], np.float64),
        }

    def _apply_reset_record(self, record: Mapping[str, np.ndarray]) -> None:
        sawyer = self._sawyer
        sawyer._target_pos = record["goal"]
        sawyer.obj_init_pos = record["object_start"]
        sawyer.init_tcp = record["hand_start"]
        if self._fixture is not None:
            self.model.body_pos[self._fixture] = record["fixture"]
        margin, self._start_distance = record["margins"].tolist()
        if self.task.margin:
            setattr(sawyer, self.task.margin, margin)

    def close(self) -> None:
        """Free the renderers; more calls do nothing."""
        super().close()
        self._sawyer.close()
