"""The Franka Kitchen as a Gymnasium environment under the rules of FK1 and R3M."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np

from envs.cameras import Camera, CameraChoice, resolve_cameras
from envs.contract import Demonstrator
from envs.kitchen.cameras import KITCHEN_CAMERAS
from envs.kitchen.config import KitchenConfig
from envs.kitchen.progress import share_done
from envs.kitchen.randomization import get_randomization
from envs.kitchen.scene import (
    ARM_JOINTS,
    BASE_BODY,
    KETTLE_JOINT,
    KITCHEN_BODY,
    ROBOT_COMMAND_RANGE,
    ROBOT_JOINTS,
    ROBOT_REST,
    build_model,
    textured_model,
)
from envs.kitchen.tasks import (
    JOINT_TOLERANCE,
    KETTLE_REST,
    KITCHEN_JOINTS,
    KITCHEN_TASKS,
    SUCCESS_STEPS,
    get_task,
)
from envs.kitchen.visuals import SURFACES, KitchenVisuals, Surface, get_visual_preset
from envs.mujoco_environment import MujocoEnvironment

FRAME_SKIP = 40
"""Physics steps of 2 ms a control step: 12.5 Hz, as FK1."""

VELOCITY_SCALE = 2 * np.pi
"""An action of 1 asks for this joint velocity, rad/s (the fingers: m/s, clipped to their range)."""

_MAX_REDRAWS = 100


@dataclass(frozen=True)
class KitchenScene:
    """What one kitchen is made of; all have the same joints, bodies, sites and cameras by name.

    Attributes:
        build_model: compiles the scene with the given cameras; without textures.
        textured_model: the same with textures, for drawing.
        surfaces: materials that visual presets color, by what they are on.
        kettle_rest: where the kettle's body stands at reset, world meters.
    """

    build_model: Callable[[Sequence[Camera]], mujoco.MjModel]
    textured_model: Callable[[], mujoco.MjModel]
    surfaces: Mapping[str, Surface]
    kettle_rest: tuple[float, float, float]


class KitchenEnv(MujocoEnvironment):
    """A Franka arm in front of a kitchen, with one task to do.

    Actions are nine joint velocities in [-1, 1] (seven arm joints, two fingers): the position
    command becomes ``q + action * 2 pi * 0.08 s``, clipped to the command range. The arm's motors
    saturate near 0.87 rad/s, so useful arm actions are about |a| < 0.4, and with a zero action
    the arm sags a little, since the command is relative to the joint's present position (FK1).

    Observations are a dictionary with ``proprioception`` (9,) float32 joint positions,
    ``privileged`` (15,) float32 (displacement of the base relative to the kitchen xyz, nine
    kitchen joints, kettle xyz; for oracle policies only) and one dictionary a modality with an
    image a camera: ``rgb`` (H, W, 3) uint8, ``depth`` (H, W) float32 meters along the optical
    axis, ``segmentation`` (H, W) int32 body ids, -1 for the background.

    The reward is 1.0 on each step that ends solved. The episode terminates as soon as it has
    succeeded (solved on more than five steps) and is truncated at the horizon.

    Args:
        task: one of :data:`envs.kitchen.tasks.KITCHEN_TASKS`.
        randomization: reset preset, see :mod:`envs.kitchen.randomization`.
        visual: appearance preset, see :mod:`envs.kitchen.visuals`.
        cameras: names of the kitchen's cameras, :class:`Camera` objects, or mappings in their form
            (see :func:`envs.cameras.resolve_cameras`); empty: no images.
        resolution: image height and width, pixels; one number for square images.
        quality: ``fast`` or ``full``, see :mod:`egodtm_robot.core.drawing.offscreen`.
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

    kind = "franka_kitchen"
    tasks = tuple(KITCHEN_TASKS)
    own_cameras = KITCHEN_CAMERAS
    config_class = KitchenConfig
    license = "Apache-2.0"
    success_steps = SUCCESS_STEPS
    film_camera = "left"

    scene: ClassVar[KitchenScene] = KitchenScene(build_model, textured_model, SURFACES, KETTLE_REST)

    def __init__(
        self,
        task: str = "microwave",
        randomization: str = "default",
        visual: str = "fixed",
        cameras: Sequence[CameraChoice] = ("left",),
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
        resolved = resolve_cameras(cameras, KITCHEN_CAMERAS)
        if horizon is None:
            horizon = (
                self.task.horizon
                if self.randomization.horizon is None
                else self.randomization.horizon * self.task.parts
            )
        free = [camera for camera in resolved if camera.name not in KITCHEN_CAMERAS]
        model = self.scene.build_model((*KITCHEN_CAMERAS.values(), *free))
        if not self.randomization.pedestal_collides:
            pedestal = _pedestal(model)
            model.geom_contype[pedestal] = model.geom_conaffinity[pedestal] = 0
        self.ends_on_success = self.randomization.ends_on_success
        super().__init__(
            model,
            task=task,
            cameras=resolved,
            control_dt=FRAME_SKIP * model.opt.timestep,
            horizon=horizon,
            noisy_actions=[name in ARM_JOINTS for name in ROBOT_JOINTS],
            resolution=resolution,
            quality=quality,
            modalities=modalities,
            render_mode=render_mode,
            render_resolution=render_resolution,
            assets=self.scene.textured_model,
        )
        self._index_model()
        self._displacement = np.zeros(3)
        self._visuals = KitchenVisuals(self.model, self.scene.surfaces)

    @property
    def randomization_name(self) -> str:
        """Name of the reset preset."""
        return self.randomization.name

    @property
    def visual_name(self) -> str:
        """Name of the visual preset."""
        return self.visual

    def demonstrator(self) -> Demonstrator:
        """The scripted expert of the task, see :mod:`envs.kitchen.experts`."""
        from envs.kitchen.experts import make_expert  # it acts on this class

        return make_expert(self)

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

    # -- episode -------------------------------------------------------------------------------

    def _begin_episode(self) -> None:
        preset = self.randomization
        center = np.asarray(self.task.base_center if preset.about_task_center else (0.0, 0.0, 0.0))
        half_extent = np.asarray(preset.half_extent)
        noise = preset.joint_noise * np.ptp(self.robot_range, axis=1)
        for _ in range(_MAX_REDRAWS):
            displacement = center + self.np_random.uniform(-1.0, 1.0, 3) * half_extent
            robot = ROBOT_REST + noise * (self.np_random.uniform(size=len(ROBOT_JOINTS)) - 0.5)
            robot = np.clip(robot, ROBOT_COMMAND_RANGE[:, 0], ROBOT_COMMAND_RANGE[:, 1])
            if preset.lowest_joint2 is not None:
                robot[1] = max(robot[1], preset.lowest_joint2)
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

    def _execute(self, action: np.ndarray) -> None:
        position = self.data.qpos[self.robot_qpos]
        command = position + action * VELOCITY_SCALE * self.control_dt
        self.data.ctrl[:] = np.clip(command, ROBOT_COMMAND_RANGE[:, 0], ROBOT_COMMAND_RANGE[:, 1])
        mujoco.mj_step(self.model, self.data, FRAME_SKIP)
        # Positions moved after the last kinematics: cameras, sites and biases must match them.
        mujoco.mj_forward(self.model, self.data)

    def is_solved(self) -> bool:
        """Whether all of the kitchen is where the task wants it now."""
        error = np.abs(self.data.qpos[self.kitchen_qpos] - self._goal)
        kettle = self._kettle_error() < self.randomization.kettle_tolerance
        return bool((error < self._tolerance).all() and kettle.all() and self._kettle_is_upright())

    def _kettle_is_upright(self) -> bool:
        if self.randomization.kettle_turn is None:
            return True
        turn = hinge_angles(self.data.qpos[self.kettle_qpos + 3 : self.kettle_qpos + 7])
        return bool((np.abs(turn) < self.randomization.kettle_turn).all())

    def _kettle_error(self) -> np.ndarray:
        kettle = self.data.qpos[self.kettle_qpos : self.kettle_qpos + 3]
        return np.abs(kettle - self._kettle_shift() - self.task.kettle_goal)

    def progress(self) -> float:
        """The share of the way that is done, 0 to 1: the mean over the things the task moves.

        Each joint's way leads from rest to within its tolerance of the goal, the kettle's from its
        burner to within its tolerance of its new place, along the axis on which it is farthest off.
        A solved step has 1; so has one on which something that the task does not name was moved.
        """
        joints = self.data.qpos[self.kitchen_qpos]
        shares = [
            share_done(abs(joints[index] - goal), abs(goal), self._tolerance[index])
            for index, goal in enumerate(self._goal)
            if goal
        ]
        if self.task.kettle_goal != KETTLE_REST:
            way = np.abs(np.subtract(self.scene.kettle_rest, self.task.kettle_goal)).max()
            near = min(self.randomization.kettle_tolerance, way / 2)
            shares.append(share_done(self._kettle_error().max(), way, near))
        return float(np.mean(shares))

    def _proprioception(self) -> np.ndarray:
        return self.data.qpos[self.robot_qpos]

    def _privileged(self) -> np.ndarray:
        kettle = self.data.qpos[self.kettle_qpos : self.kettle_qpos + 3] - self._kettle_shift()
        return np.concatenate([self._displacement, self.data.qpos[self.kitchen_qpos], kettle])

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
        stays = self.randomization.moves == "base" or self.randomization.kettle_stays
        return np.zeros(3) if stays else -self._displacement

    def _kettle_rest(self) -> np.ndarray:
        return np.asarray(self.scene.kettle_rest) + self._kettle_shift()

    def _robot_touches_kitchen(self) -> bool:
        geoms = self.data.contact.geom
        if len(geoms) == 0:
            return False
        robot = self._robot_geoms[geoms]
        return bool((robot[:, 0] != robot[:, 1]).any())

    # -- state ---------------------------------------------------------------------------------

    def reset_record(self) -> dict[str, np.ndarray]:
        """All that the reset randomized outside the simulator state, by name."""
        return {
            "displacement": self._displacement.copy(),
            **{name: values.copy() for name, values in self._visuals.record.items()},
        }

    def _apply_reset_record(self, record: Mapping[str, np.ndarray]) -> None:
        self._visuals.apply(record)
        self._place(record["displacement"])


def _pedestal(model: mujoco.MjModel) -> list[int]:
    """The cylinder on which the robot stands, the one geometry of its base's own body."""
    base = model.body(BASE_BODY).id
    cylinder = mujoco.mjtGeom.mjGEOM_CYLINDER
    return [
        geom
        for geom in range(model.ngeom)
        if model.geom_bodyid[geom] == base and model.geom_type[geom] == cylinder
    ]


def hinge_angles(quaternion: np.ndarray) -> np.ndarray:
    """Angles (3,) of three hinges about x, y and z, in this order, that turn a body so, radians.

    Args:
        quaternion: (w, x, y, z), (4,).
    """
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quaternion, np.float64))
    turn = matrix.reshape(3, 3)
    return np.array(
        [
            np.arctan2(-turn[1, 2], turn[2, 2]),
            np.arcsin(np.clip(turn[0, 2], -1.0, 1.0)),
            np.arctan2(-turn[0, 1], turn[0, 0]),
        ]
    )
