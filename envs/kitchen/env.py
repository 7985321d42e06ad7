"""The Franka Kitchen as a Gymnasium environment under the rules of FK1 and R3M."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces

from egodtm_robot.core.errors import (
    InvalidActionError,
    InvalidStateError,
    RenderingError,
    UnknownNameError,
)
from egodtm_robot.core.rendering import MODALITIES, OffscreenRenderer
from envs.kitchen.cameras import KITCHEN_CAMERAS, Camera, resolve_cameras
from envs.kitchen.randomization import get_randomization
from envs.kitchen.scene import (
    BASE_BODY,
    KETTLE_JOINT,
    KITCHEN_BODY,
    ROBOT_COMMAND_RANGE,
    ROBOT_JOINTS,
    ROBOT_REST,
    build_model,
    model_hash,
    textured_model,
)
from envs.kitchen.tasks import (
    JOINT_TOLERANCE,
    KETTLE_REST,
    KETTLE_TOLERANCE,
    KITCHEN_JOINTS,
    SUCCESS_STEPS,
    get_task,
)
from envs.kitchen.visuals import SURFACES, KitchenVisuals, Surface, get_visual_preset

FRAME_SKIP = 40
"""Physics steps of 2 ms a control step: 12.5 Hz, as FK1."""

VELOCITY_SCALE = 2 * np.pi
"""An action of 1 asks for this joint velocity, rad/s (the fingers: m/s, clipped to their range)."""

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_MAX_REDRAWS = 100


@dataclass(frozen=True)
class KitchenScene:
    """What one kitchen is made of; all have the same joints, bodies, sites and cameras by name.

    Attributes:
        build_model: compiles the scene with the given cameras; without textures.
        textured_model: the same with textures, for drawing.
        surfaces: materials that visual presets colour, by what they are on.
        kettle_rest: where the kettle's body stands at reset, world metres.
    """

    build_model: Callable[[Sequence[Camera]], mujoco.MjModel]
    textured_model: Callable[[], mujoco.MjModel]
    surfaces: Mapping[str, Surface]
    kettle_rest: tuple[float, float, float]


class KitchenEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """A Franka arm in front of a kitchen, with one task to do.

    Actions are nine joint velocities in [-1, 1] (seven arm joints, two fingers): the position
    command becomes ``q + action * 2 pi * 0.08 s``, clipped to the command range. The arm's motors
    saturate near 0.87 rad/s, so useful arm actions are about |a| < 0.4, and with a zero action
    the arm sags a little, since the command is relative to the joint's present position (FK1).

    Observations are a dictionary with ``proprioception`` (9,) float32 joint positions,
    ``privileged`` (15,) float32 (displacement of the base relative to the kitchen xyz, nine
    kitchen joints, kettle xyz; for oracle policies only) and one dictionary a modality with an
    image a camera: ``rgb`` (H, W, 3) uint8, ``depth`` (H, W) float32 metres along the optical
    axis, ``segmentation`` (H, W) int32 body ids, -1 for the background.

    The reward is 1.0 on each step that ends solved. The episode terminates as soon as it has
    succeeded (solved on more than five steps) and is truncated at the horizon.

    Args:
        task: one of :data:`envs.kitchen.tasks.KITCHEN_TASKS`.
        randomization: reset preset, see :mod:`envs.kitchen.randomization`.
        visual: appearance preset, see :mod:`envs.kitchen.visuals`.
        cameras: names of the kitchen's cameras, :class:`Camera` objects, or mappings in their form
            (see :func:`envs.kitchen.cameras.resolve_cameras`); empty: no images.
        resolution: image height and width, pixels; one number for square images.
        quality: ``fast`` or ``full``, see :mod:`egodtm_robot.core.rendering`.
        modalities: which images an observation holds.
        horizon: steps of an episode; None takes the preset's.
        render_mode: ``rgb_array`` lets :meth:`render` draw the first camera (``left`` if none).
        render_resolution: height and width of what :meth:`render` draws, pixels.

    Raises:
        UnknownNameError: a task, preset, camera or modality is unknown.
        CameraError: a free camera is incomplete, or two cameras share a name.
        RenderingError: the resolution is not positive.

    Example:
        >>> import gymnasium, envs
        >>> env = gymnasium.make("EgoDTMKitchen/Microwave-v0", cameras=())
        >>> observation, info = env.reset(seed=7)
        >>> observation["proprioception"].shape
        (9,)
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 12.5}

    scene: ClassVar[KitchenScene] = KitchenScene(build_model, textured_model, SURFACES, KETTLE_REST)

    def __init__(
        self,
        task: str = "microwave",
        randomization: str = "default",
        visual: str = "fixed",
        cameras: Sequence[str | Camera | Mapping[str, Any]] = ("left",),
        resolution: int | tuple[int, int] = 224,
        quality: str = "fast",
        modalities: Sequence[str] = ("rgb",),
        horizon: int | None = None,
        render_mode: str | None = None,
        render_resolution: int = 256,
    ) -> None:
        self.task = get_task(task)
        self.randomization = get_randomization(randomization)
        self.visual = visual
        self._visual_preset = get_visual_preset(visual)
        self.cameras = resolve_cameras(cameras)
        self.resolution = _height_and_width(resolution)
        self.quality = quality
        for modality in modalities:
            if modality not in MODALITIES:
                raise UnknownNameError("modality", modality, MODALITIES)
        self.modalities = tuple(modalities) if self.cameras else ()
        if horizon is None:
            horizon = (
                self.task.horizon
                if self.randomization.horizon is None
                else self.randomization.horizon * self.task.parts
            )
        self.horizon = horizon
        self.render_mode = render_mode

        free = [camera for camera in self.cameras if camera.name not in KITCHEN_CAMERAS]
        self.model = self.scene.build_model((*KITCHEN_CAMERAS.values(), *free))
        self.data = mujoco.MjData(self.model)
        self.model_hash = model_hash(self.model)
        self.control_dt = FRAME_SKIP * self.model.opt.timestep
        self._index_model()

        self._steps = 0
        self._solved_steps = 0
        self._displacement = np.zeros(3)
        self._visuals = KitchenVisuals(self.model, self.scene.surfaces)
        self._renderer = OffscreenRenderer(
            self.model, *self.resolution, quality=quality, assets=self.scene.textured_model
        )
        # For people to look at: it loads nothing until it draws.
        self._film_renderer = OffscreenRenderer(
            self.model,
            render_resolution,
            render_resolution,
            quality=quality,
            assets=self.scene.textured_model,
        )

        self.action_space = spaces.Box(-1.0, 1.0, (len(ROBOT_JOINTS),), np.float32)
        self.observation_space = self._build_observation_space()

    def _index_model(self) -> None:
        model = self.model
        self.robot_qpos = np.array([model.joint(name).qposadr[0] for name in ROBOT_JOINTS])
        self.robot_dofs = np.array([model.joint(name).dofadr[0] for name in ROBOT_JOINTS])
        self.robot_range = np.array([model.joint(name).range for name in ROBOT_JOINTS])
        self.kitchen_qpos = np.array([model.joint(name).qposadr[0] for name in KITCHEN_JOINTS])
        self.kitchen_range = np.array([model.joint(name).range for name in KITCHEN_JOINTS])
        self.kettle_qpos = int(model.joint(KETTLE_JOINT).qposadr[0])
        self._base = model.body(BASE_BODY).id
        self._kitchen = model.body(KITCHEN_BODY).id
        self._base_rest = model.body_pos[self._base].copy()
        self._kitchen_rest = model.body_pos[self._kitchen].copy()
        self._goal = np.array([self.task.joint_goals.get(name, 0.0) for name in KITCHEN_JOINTS])
        self._tolerance = JOINT_TOLERANCE * np.ptp(self.kitchen_range, axis=1)
        # Bodies of the robot, to tell its contacts with the kitchen from the kitchen's own.
        root = model.body_rootid == self._base
        self._robot_geoms = root[model.geom_bodyid]

    def _build_observation_space(self) -> spaces.Dict:
        height, width = self.resolution
        boxes: dict[str, Callable[[], spaces.Space[Any]]] = {
            "rgb": lambda: spaces.Box(0, 255, (height, width, 3), np.uint8),
            "depth": lambda: spaces.Box(0.0, np.inf, (height, width), np.float32),
            "segmentation": lambda: spaces.Box(-1, self.model.nbody, (height, width), np.int32),
        }
        entries: dict[str, spaces.Space[Any]] = {
            "proprioception": spaces.Box(-np.inf, np.inf, (len(ROBOT_JOINTS),), np.float32),
            "privileged": spaces.Box(-np.inf, np.inf, (3 + len(KITCHEN_JOINTS) + 3,), np.float32),
        }
        for modality in self.modalities:
            entries[modality] = spaces.Dict(
                {camera.name: boxes[modality]() for camera in self.cameras}
            )
        return spaces.Dict(entries)

    # -- episode -------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode; the same seed gives the same episode to the bit."""
        super().reset(seed=seed)
        preset = self.randomization
        center = np.asarray(self.task.base_center if preset.about_task_center else (0.0, 0.0, 0.0))
        half_extent = np.asarray(preset.half_extent)
        noise = preset.joint_noise * np.ptp(self.robot_range, axis=1)
        for _ in range(_MAX_REDRAWS):
            displacement = center + self.np_random.uniform(-1.0, 1.0, 3) * half_extent
            robot = ROBOT_REST + noise * (self.np_random.uniform(size=len(ROBOT_JOINTS)) - 0.5)
            robot = np.clip(robot, ROBOT_COMMAND_RANGE[:, 0], ROBOT_COMMAND_RANGE[:, 1])
            self._place(displacement)
            mujoco.mj_resetData(self.model, self.data)
            self.data.qpos[self.robot_qpos] = robot
            self.data.ctrl[:] = robot
            kettle = slice(self.kettle_qpos, self.kettle_qpos + 7)
            self.data.qpos[kettle] = [*self._kettle_rest(), 1.0, 0.0, 0.0, 0.0]
            mujoco.mj_forward(self.model, self.data)
            if not preset.redraw_in_contact or not self._robot_touches_kitchen():
                break
        # After the physical draws, and as many under every preset: the episodes that a seed gives
        # move alike whatever they look like.
        self._visuals.apply(self._visuals.draw(self._visual_preset, self.np_random))
        mujoco.mj_camlight(self.model, self.data)
        self._steps = 0
        self._solved_steps = 0
        return self.observe(), self._info(solved=False)

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Runs one control step of 0.08 s.

        Raises:
            InvalidActionError: the action's shape is not (9,) or it holds NaN or infinity.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (len(ROBOT_JOINTS),):
            raise InvalidActionError(
                f"Expected an action of shape ({len(ROBOT_JOINTS)},), got {action.shape}."
            )
        if not np.isfinite(action).all():
            raise InvalidActionError(
                f"Expected finite joint velocities in [-1, 1], got {action.tolist()}; "
                "check the policy's inputs and weights for NaN."
            )
        position = self.data.qpos[self.robot_qpos]
        command = position + np.clip(action, -1.0, 1.0) * VELOCITY_SCALE * self.control_dt
        self.data.ctrl[:] = np.clip(command, ROBOT_COMMAND_RANGE[:, 0], ROBOT_COMMAND_RANGE[:, 1])
        mujoco.mj_step(self.model, self.data, FRAME_SKIP)
        # Positions moved after the last kinematics: cameras, sites and biases must match them.
        mujoco.mj_forward(self.model, self.data)
        self._steps += 1
        solved = self.is_solved()
        self._solved_steps += solved
        terminated = self._solved_steps > SUCCESS_STEPS
        truncated = not terminated and self._steps >= self.horizon
        return self.observe(), float(solved), terminated, truncated, self._info(solved)

    def is_solved(self) -> bool:
        """Whether all of the kitchen is where the task wants it now."""
        error = np.abs(self.data.qpos[self.kitchen_qpos] - self._goal)
        kettle = self.data.qpos[self.kettle_qpos : self.kettle_qpos + 3]
        kettle_error = np.abs(kettle - self._kettle_shift() - self.task.kettle_goal)
        return bool((error < self._tolerance).all() and (kettle_error < KETTLE_TOLERANCE).all())

    def observe(self) -> dict[str, Any]:
        """The observation of the present state."""
        data = self.data
        kettle = data.qpos[self.kettle_qpos : self.kettle_qpos + 3] - self._kettle_shift()
        observation: dict[str, Any] = {
            "proprioception": data.qpos[self.robot_qpos].astype(np.float32),
            "privileged": np.concatenate(
                [self._displacement, data.qpos[self.kitchen_qpos], kettle]
            ).astype(np.float32),
        }
        observation.update({modality: {} for modality in self.modalities})
        if self.modalities:
            for camera in self.cameras:
                images = self._renderer.draw(data, camera.name, self.modalities)
                for modality, image in images.items():
                    observation[modality][camera.name] = image
        return observation

    def _info(self, solved: bool) -> dict[str, Any]:
        return {
            "solved": bool(solved),
            "solved_steps": int(self._solved_steps),
            "success": self._solved_steps > SUCCESS_STEPS,
        }

    # -- placing -------------------------------------------------------------------------------

    def _place(self, displacement: np.ndarray) -> None:
        """Displaces the base relative to the kitchen (or the kitchen by the opposite)."""
        self._displacement = np.asarray(displacement, dtype=np.float64).copy()
        base_moves = self.randomization.moves == "base"
        self.model.body_pos[self._base] = self._base_rest + (displacement if base_moves else 0.0)
        self.model.body_pos[self._kitchen] = self._kitchen_rest - (
            0.0 if base_moves else displacement
        )

    def _kettle_shift(self) -> np.ndarray:
        return np.zeros(3) if self.randomization.moves == "base" else -self._displacement

    def _kettle_rest(self) -> np.ndarray:
        return np.asarray(self.scene.kettle_rest) + self._kettle_shift()

    def _robot_touches_kitchen(self) -> bool:
        geoms = self.data.contact.geom
        if len(geoms) == 0:
            return False
        robot = self._robot_geoms[geoms]
        return bool((robot[:, 0] != robot[:, 1]).any())

    # -- state ---------------------------------------------------------------------------------

    def simulator_state(self) -> np.ndarray:
        """MuJoCo's integration state, float64 (S,): with the reset record, all of the scene."""
        state = np.empty(mujoco.mj_stateSize(self.model, _STATE))
        mujoco.mj_getState(self.model, self.data, state, _STATE)
        return state

    def reset_record(self) -> dict[str, np.ndarray]:
        """All that the reset randomised outside the simulator state, by name."""
        return {
            "displacement": self._displacement.copy(),
            **{name: values.copy() for name, values in self._visuals.record.items()},
        }

    def restore(self, simulator_state: np.ndarray, reset_record: dict[str, np.ndarray]) -> None:
        """Puts the scene into a stored state, for drawing it again or going on from it.

        Raises:
            InvalidStateError: the state does not fit this model or is not finite.
        """
        size = mujoco.mj_stateSize(self.model, _STATE)
        simulator_state = np.asarray(simulator_state, dtype=np.float64)
        if simulator_state.shape != (size,) or not np.isfinite(simulator_state).all():
            raise InvalidStateError(
                f"Expected a finite simulator state of shape ({size},), got "
                f"{simulator_state.shape}; was it stored with another model or MuJoCo version?"
            )
        displacement = np.asarray(reset_record.get("displacement", ()), np.float64)
        missing = self.reset_record().keys() - reset_record.keys()
        if missing:
            raise InvalidStateError(
                f"Expected a reset record with {sorted(self.reset_record())}; "
                f"{sorted(missing)} is missing. Was it stored under another preset?"
            )
        if displacement.shape != (3,) or not np.isfinite(displacement).all():
            raise InvalidStateError(
                f"Expected a finite displacement of shape (3,), got {displacement.tolist()}."
            )
        self._visuals.apply(reset_record)
        self._place(displacement)
        mujoco.mj_setState(self.model, self.data, simulator_state, _STATE)
        mujoco.mj_forward(self.model, self.data)
        # mj_forward overwrites the solver's warm start, which belongs to the state.
        mujoco.mj_setState(self.model, self.data, simulator_state, _STATE)

    def get_state(self) -> dict[str, Any]:
        """Everything that the future depends on: scene, counters and generator."""
        return {
            "simulator_state": self.simulator_state(),
            "reset_record": self.reset_record(),
            "steps": self._steps,
            "solved_steps": self._solved_steps,
            "generator": self.np_random.bit_generator.state,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what :meth:`get_state` returned; what follows is the same to the bit.

        Raises:
            InvalidStateError: the state is not one of this environment's.
        """
        self.restore(state["simulator_state"], state["reset_record"])
        self._steps = int(state["steps"])
        self._solved_steps = int(state["solved_steps"])
        self.np_random.bit_generator.state = state["generator"]

    # -- images --------------------------------------------------------------------------------

    def render_camera(self, camera: str, modality: str = "rgb") -> np.ndarray:
        """Draws one camera of the model, whether observed or not; see the class for the images.

        Raises:
            UnknownNameError: the model has no such camera, or the modality is unknown.
            RenderingError: there is no off-screen OpenGL, or the environment is closed.
        """
        return self._renderer.draw(self.data, camera, (modality,))[modality]

    def render(self) -> np.ndarray:
        """A picture of the scene for people, uint8 (H, W, 3).

        From the first camera that stands still; ``left`` if the environment has none, since a film
        from the wrist hardly shows what the arm does.
        """
        camera = next((camera.name for camera in self.cameras if not camera.body), "left")
        return self._film_renderer.draw(self.data, camera, ("rgb",))["rgb"]

    def close(self) -> None:
        """Frees the renderer."""
        self._renderer.close()
        self._film_renderer.close()


def _height_and_width(resolution: int | Sequence[int]) -> tuple[int, int]:
    size = (resolution, resolution) if isinstance(resolution, int) else tuple(resolution)
    if len(size) != 2:
        raise RenderingError(f"Expected a resolution of one or two numbers, got {resolution!r}.")
    return int(size[0]), int(size[1])
