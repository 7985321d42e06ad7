"""The part of the contract that every MuJoCo model fulfills alike: states, images, counting."""

import functools
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium import spaces

from egodtm_robot.core.drawing.offscreen import MODALITIES, OffscreenRenderer
from egodtm_robot.core.errors import (
    InvalidActionError,
    InvalidStateError,
    RenderingError,
    UnknownNameError,
)
from envs.cameras import CameraChoice, resolve_cameras
from envs.contract import RobotEnvironment
from envs.mujoco_models import model_hash

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class MujocoEnvironment(RobotEnvironment):
    """A robot environment around one MuJoCo model.

    A subclass says how an episode begins (:meth:`_begin_episode`), how an action is executed
    (:meth:`_execute`), what is observed (:meth:`_proprioception`, :meth:`_privileged`), when the
    task is solved, how far it is, and what a reset randomizes beside MuJoCo's state
    (:meth:`reset_record` and :meth:`_apply_reset_record`).

    Args:
        model: the compiled scene as it is before any reset.
        task: name of the task.
        cameras: the observed ones, see :func:`envs.cameras.resolve_cameras`; the model has cameras
            of these names.
        control_dt: seconds of a control step.
        horizon: control steps of an episode.
        noisy_actions: bool (A,), see :class:`RobotEnvironment`; its length is the action's.
        resolution: image height and width, pixels; one number for square images.
        quality: ``fast`` or ``full``, see :mod:`egodtm_robot.core.drawing.offscreen`.
        modalities: which images an observation holds.
        render_mode: ``rgb_array`` lets :meth:`render` draw.
        render_resolution: height and width of what :meth:`render` draws, pixels.
        data: the state to work on; None makes one.
        assets: builds the model with the textures to draw, see :class:`OffscreenRenderer`; None
            takes them from ``model``.

    Raises:
        UnknownNameError: a camera or modality is unknown.
        CameraError: a free camera is incomplete, or two cameras share a name.
        RenderingError: the resolution is not positive.
    """

    metadata = {"render_modes": ["rgb_array"]}

    success_steps: ClassVar[int] = 0
    """An episode succeeds when it was solved on *more* than this many steps."""

    ends_on_success: bool = True
    """Whether an episode ends when it has succeeded, or always lasts to its horizon."""

    film_camera: ClassVar[str]
    """What :meth:`render` draws where no observed camera stands still."""

    def __init__(
        self,
        model: mujoco.MjModel,
        *,
        task: str,
        cameras: Sequence[CameraChoice],
        control_dt: float,
        horizon: int,
        noisy_actions: Sequence[bool],
        resolution: int | tuple[int, int] = 112,
        quality: str = "fast",
        modalities: Sequence[str] = ("rgb",),
        render_mode: str | None = None,
        render_resolution: int = 256,
        data: mujoco.MjData | None = None,
        assets: Callable[[], mujoco.MjModel] | None = None,
    ) -> None:
        self.model = model
        self.data = mujoco.MjData(model) if data is None else data
        self.model_hash = model_hash(model)
        self.engine_version = mujoco.__version__
        self.task_name = task
        self.cameras = resolve_cameras(cameras, self.own_cameras)
        self.resolution = _height_and_width(resolution)
        self.quality = quality
        for modality in modalities:
            if modality not in MODALITIES:
                raise UnknownNameError("modality", modality, MODALITIES)
        self.modalities = tuple(modalities) if self.cameras else ()
        self.control_dt = control_dt
        self.horizon = horizon
        self.noisy_actions = np.array(noisy_actions, dtype=bool)
        self.render_mode = render_mode
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 1.0 / control_dt}

        self._steps = 0
        self._solved_steps = 0
        self._renderer = OffscreenRenderer(model, *self.resolution, quality=quality, assets=assets)
        # For people to look at: it loads nothing until it draws.
        self._film_renderer = OffscreenRenderer(
            model, render_resolution, render_resolution, quality=quality, assets=assets
        )
        self.action_space = spaces.Box(-1.0, 1.0, self.noisy_actions.shape, np.float32)

    @functools.cached_property
    def observation_space(self) -> spaces.Dict:  # type: ignore[override]
        """Spaces of the observation, by its keys."""
        height, width = self.resolution
        boxes: dict[str, Callable[[], spaces.Space[Any]]] = {
            "rgb": lambda: spaces.Box(0, 255, (height, width, 3), np.uint8),
            "depth": lambda: spaces.Box(0.0, np.inf, (height, width), np.float32),
            "segmentation": lambda: spaces.Box(-1, self.model.nbody, (height, width), np.int32),
        }
        entries: dict[str, spaces.Space[Any]] = {
            "proprioception": spaces.Box(-np.inf, np.inf, self._proprioception().shape, np.float32),
            "privileged": spaces.Box(-np.inf, np.inf, self._privileged().shape, np.float32),
        }
        for modality in self.modalities:
            entries[modality] = spaces.Dict(
                {camera.name: boxes[modality]() for camera in self.cameras}
            )
        return spaces.Dict(entries)

    # -- what a subclass says --------------------------------------------------------------------

    @abstractmethod
    def _begin_episode(self) -> None:
        """Reset model and data by ``self.np_random`` alone, with kinematics up to date."""

    @abstractmethod
    def _execute(self, action: np.ndarray) -> None:
        """Run one control step with an action float64 (A,) in [-1, 1], then ``mj_forward``."""

    @abstractmethod
    def _proprioception(self) -> np.ndarray:
        """What the robot knows of itself, (P,)."""

    @abstractmethod
    def _privileged(self) -> np.ndarray:
        """The state of the scene for oracle policies, (V,)."""

    def _reward(self) -> float:
        """The reward of the step that was just executed; by default 1 if it ended solved."""
        return float(self.is_solved())

    def reset_record(self) -> dict[str, np.ndarray]:
        """See :class:`RobotEnvironment`; by default a reset changes MuJoCo's state alone."""
        return {}

    def _apply_reset_record(self, record: Mapping[str, np.ndarray]) -> None:
        """Give the model what a reset had randomized outside MuJoCo's state.

        Raises:
            InvalidStateError: an array does not fit; nothing is changed then.
        """

    # -- episode ---------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; the same seed gives the same episode to the bit."""
        super().reset(seed=seed)
        self._begin_episode()
        self._steps = 0
        self._solved_steps = 0
        return self.observe(), self._info(self.is_solved())

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Run one control step.

        Raises:
            InvalidActionError: the action's shape is not (A,) or it holds NaN or infinity.
        """
        self._execute(self._checked_action(action))
        self._steps += 1
        solved = self.is_solved()
        self._solved_steps += solved
        terminated = self.ends_on_success and self._solved_steps > self.success_steps
        truncated = not terminated and self._steps >= self.horizon
        return self.observe(), self._reward(), terminated, truncated, self._info(solved)

    def _checked_action(self, action: np.ndarray) -> np.ndarray:
        action = np.asarray(action, dtype=np.float64)
        if action.shape != self.noisy_actions.shape:
            raise InvalidActionError(
                f"Expected an action of shape {self.noisy_actions.shape}, got {action.shape}."
            )
        if not np.isfinite(action).all():
            raise InvalidActionError(
                f"Expected finite numbers in [-1, 1] as an action, got {action.tolist()}; "
                "check the policy's inputs and weights for NaN."
            )
        return np.clip(action, -1.0, 1.0)

    def observe(self) -> dict[str, Any]:
        """The observation of the present state."""
        observation: dict[str, Any] = {
            "proprioception": self._proprioception().astype(np.float32),
            "privileged": self._privileged().astype(np.float32),
        }
        observation.update({modality: {} for modality in self.modalities})
        if self.modalities:
            for camera in self.cameras:
                images = self._renderer.draw(self.data, camera.name, self.modalities)
                for modality, image in images.items():
                    observation[modality][camera.name] = image
        return observation

    def _info(self, solved: bool) -> dict[str, Any]:
        return {
            "solved": bool(solved),
            "solved_steps": int(self._solved_steps),
            "success": self._solved_steps > self.success_steps,
            "progress": 1.0 if solved else self.progress(),
        }

    # -- state -----------------------------------------------------------------------------------

    def simulator_state(self) -> np.ndarray:
        """MuJoCo's integration state, float64 (S,): with the reset record, all of the scene."""
        state = np.empty(mujoco.mj_stateSize(self.model, _STATE))
        mujoco.mj_getState(self.model, self.data, state, _STATE)
        return state

    def restore(self, simulator_state: np.ndarray, reset_record: Mapping[str, np.ndarray]) -> None:
        """Put the scene into a stored state, for drawing it again or going on from it.

        Raises:
            InvalidStateError: the state or the record does not fit; nothing is changed then.
        """
        size = mujoco.mj_stateSize(self.model, _STATE)
        simulator_state = np.asarray(simulator_state, dtype=np.float64)
        if simulator_state.shape != (size,) or not np.isfinite(simulator_state).all():
            raise InvalidStateError(
                f"Expected a finite simulator state of shape ({size},), got "
                f"{simulator_state.shape}; was it stored with another model or MuJoCo version?"
            )
        present = self.reset_record()
        missing = present.keys() - reset_record.keys()
        if missing:
            raise InvalidStateError(
                f"Expected a reset record with {sorted(present)}; {sorted(missing)} is missing. "
                "Was it stored under another preset?"
            )
        record = {}
        for name, own in present.items():
            values = record[name] = np.array(reset_record[name], np.float64)
            if values.shape != own.shape or not np.isfinite(values).all():
                raise InvalidStateError(
                    f"Expected {name} of shape {own.shape}, all finite, in a reset record, got "
                    f"{values.tolist()}. Was it stored with another version of the environment?"
                )
        self._apply_reset_record(record)
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

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`get_state` returned; what follows is the same to the bit.

        Raises:
            InvalidStateError: the state is not one of this environment's.
        """
        self.restore(state["simulator_state"], state["reset_record"])
        self._steps = int(state["steps"])
        self._solved_steps = int(state["solved_steps"])
        self.np_random.bit_generator.state = state["generator"]

    # -- images ----------------------------------------------------------------------------------

    def render_camera(self, camera: str, modality: str = "rgb") -> np.ndarray:
        """Draw one camera of the model, whether observed or not.

        Raises:
            UnknownNameError: the model has no such camera, or the modality is unknown.
            RenderingError: there is no off-screen OpenGL, or the environment is closed.
        """
        return self._renderer.draw(self.data, camera, (modality,))[modality]

    def render(self) -> np.ndarray:
        """A picture of the scene for people, uint8 (H, W, 3).

        From the first camera that stands still, since a film from the wrist hardly shows what the
        arm does; ``film_camera`` if the environment observes none.
        """
        still = (camera.name for camera in self.cameras if not camera.body)
        camera = next(still, self.film_camera)
        return self._film_renderer.draw(self.data, camera, ("rgb",))["rgb"]

    def close(self) -> None:
        """Free the renderers; more calls do nothing."""
        self._renderer.close()
        self._film_renderer.close()


def _height_and_width(resolution: int | Sequence[int]) -> tuple[int, int]:
    size = (resolution, resolution) if isinstance(resolution, int) else tuple(resolution)
    if len(size) != 2:
        raise RenderingError(f"Expected a resolution of one or two numbers, got {resolution!r}.")
    return int(size[0]), int(size[1])
