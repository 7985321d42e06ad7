"""What every environment here can do, and all that the commands know of one.

Collecting, drawing, training and evaluating use an environment through :class:`RobotEnvironment`
alone. Another simulator is therefore a folder beside this file and files in ``configs/env``; no
file of the commands changes. An environment of MuJoCo gets most of the contract from
:class:`envs.mujoco_environment.MujocoEnvironment`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import gymnasium
import numpy as np

from egodtm_robot.core.configuration.instantiation import import_target
from egodtm_robot.core.errors import EgoDTMRobotError
from envs.cameras import Camera
from envs.options import EnvironmentConfig


class NoDemonstratorError(EgoDTMRobotError, NotImplementedError):
    """An environment has no scripted demonstrator for its task."""


class Demonstrator(Protocol):
    """Does an environment's task, one action at a time, from the environment's present state."""

    @property
    def version(self) -> str:
        """Changes whenever it acts differently; stored with demonstrations."""
        ...

    def reset(self) -> None:
        """Begin an episode; called after the environment's own reset."""
        ...

    def act(self) -> np.ndarray | None:
        """The action for the present state, (A,) in [-1, 1]; None when it gives the episode up."""
        ...


@dataclass(frozen=True)
class EnvironmentDescription:
    """What others need to know of an environment without holding one.

    Attributes:
        kind: what stored things call the simulator, such as ``franka_kitchen``.
        task: name of the task.
        randomization: name of the reset preset; ``default`` where there is only one.
        visual: name of the preset of the looks; ``fixed`` where there is only one.
        model_hash: of everything that moves; states of one hash fit no other.
        engine_version: of the physics engine.
        horizon: control steps of an episode.
        control_dt: seconds of a control step.
        cameras: the observed ones.
        state_size: S, length of the simulator's state.
        privileged_size: V, length of the privileged state.
        proprioception_size: P, length of the robot's own state.
        action_size: A, length of an action.
        license: under which pictures and demonstrations of it may be passed on.
    """

    kind: str
    task: str
    randomization: str
    visual: str
    model_hash: str
    engine_version: str
    horizon: int
    control_dt: float
    cameras: tuple[Camera, ...]
    state_size: int
    privileged_size: int
    proprioception_size: int
    action_size: int
    license: str

    @property
    def name(self) -> str:
        """Kind and task, as in ``env=``."""
        return f"{self.kind}_{self.task}"

    @property
    def control_rate(self) -> float:
        """Control steps a second: the frame rate of films."""
        return 1.0 / self.control_dt

    @property
    def camera_poses(self) -> dict[str, dict[str, Any]]:
        """Position, quaternion, fovy, body and target of each camera by its name, as plain JSON.

        A pose with its name is a description from which an equal camera can be made.
        """
        return {
            camera.name: {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(camera).items()
                # Stores of before there were targets have none.
                if key != "name" and (key != "target" or value)
            }
            for camera in self.cameras
        }


class RobotEnvironment(gymnasium.Env[dict[str, Any], np.ndarray], ABC):
    """A Gymnasium environment whose episodes can be seeded, stored, restored and drawn again.

    The constructor takes the fields of ``config_class`` by name, ``modalities`` (which images an
    observation holds: any of rgb, depth, segmentation) and ``render_mode``.

    - **Seeding.** ``reset(seed=s)`` gives the same episode to the bit, in any process, whatever
      happened in the environment before.
    - **Actions** are float (A,) in [-1, 1].
    - **Observations** are a dictionary with ``proprioception`` float32 (P,), what a robot knows of
      itself; ``privileged`` float32 (V,), the state of the scene, for oracle policies only; and for
      each modality a dictionary with an image a camera: ``rgb`` (H, W, 3) uint8, ``depth`` (H, W)
      float32 meters along the optical axis, ``segmentation`` (H, W) int32 body ids, -1 for the
      background.
    - **info** of every reset and step has ``solved`` (bool, whether the task is solved in this
      state), ``solved_steps`` (int, steps of this episode that ended solved), ``success`` (bool,
      whether the episode counts as a success) and ``progress`` (float in [0, 1], the share of the
      way to the goal that is done in this state; 1 when solved).

    Attributes:
        kind: what stored things call this class; never changed, never given to another.
        tasks: names of the tasks.
        own_cameras: the cameras that the configuration may name.
        config_class: its options, a subclass of :class:`EnvironmentConfig`.
        license: under which pictures and demonstrations of it may be passed on.
        task_name: one of ``tasks``.
        cameras: the observed cameras.
        horizon: control steps after which an episode is truncated.
        control_dt: seconds of a control step.
        model_hash: hexadecimal digits over everything that moves.
        engine_version: of the physics engine.
        noisy_actions: bool (A,), the dimensions of an action to which collecting adds noise (DART);
            not those that open and close a gripper, say.
    """

    kind: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]
    own_cameras: ClassVar[Mapping[str, Camera]] = {}
    config_class: ClassVar[type[EnvironmentConfig]] = EnvironmentConfig
    license: ClassVar[str]

    task_name: str
    cameras: tuple[Camera, ...]
    horizon: int
    control_dt: float
    model_hash: str
    engine_version: str
    noisy_actions: np.ndarray

    @property
    def randomization_name(self) -> str:
        """Name of the reset preset."""
        return "default"

    @property
    def visual_name(self) -> str:
        """Name of the preset of the looks."""
        return "fixed"

    @abstractmethod
    def observe(self) -> dict[str, Any]:
        """The observation of the present state."""

    @abstractmethod
    def is_solved(self) -> bool:
        """Whether the task is solved in the present state."""

    @abstractmethod
    def progress(self) -> float:
        """The share of the way from the reset to the goal that is done now, 0 to 1."""

    @abstractmethod
    def simulator_state(self) -> np.ndarray:
        """Float64 (S,): with the reset record, all of the scene."""

    @abstractmethod
    def reset_record(self) -> dict[str, np.ndarray]:
        """All that the reset randomized outside the simulator's state, arrays of fixed shapes."""

    @abstractmethod
    def restore(self, simulator_state: np.ndarray, reset_record: Mapping[str, np.ndarray]) -> None:
        """Put the scene into a stored state, for drawing it again or going on from it.

        Raises:
            InvalidStateError: the state or the record does not fit; nothing is changed then.
        """

    @abstractmethod
    def get_state(self) -> dict[str, Any]:
        """Everything that the future depends on: scene, counters and generator."""

    @abstractmethod
    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`get_state` returned; what follows is the same to the bit.

        Raises:
            InvalidStateError: the state is not one of this environment's.
        """

    @abstractmethod
    def render_camera(self, camera: str, modality: str = "rgb") -> np.ndarray:
        """Draw one camera, whether observed or not; see the class for the images.

        Raises:
            UnknownNameError: there is no such camera or modality.
            RenderingError: there is no off-screen OpenGL, or the environment is closed.
        """

    def demonstrator(self) -> Demonstrator:
        """A scripted expert that acts in this environment.

        Raises:
            NoDemonstratorError: there is none for the task.
        """
        raise NoDemonstratorError(
            f"Expected a demonstrator for {self.kind}_{self.task_name} to collect with; the "
            "environment has none. Name a store of demonstrations with demos.path, or override "
            f"{type(self).__name__}.demonstrator."
        )

    def describe(self) -> EnvironmentDescription:
        """What others need to know of this environment without holding it."""
        sizes = {
            name: int(self.observation_space[name].shape[0])  # type: ignore[index]
            for name in ("privileged", "proprioception")
        }
        assert self.action_space.shape is not None
        return EnvironmentDescription(
            kind=self.kind,
            task=self.task_name,
            randomization=self.randomization_name,
            visual=self.visual_name,
            model_hash=self.model_hash,
            engine_version=self.engine_version,
            horizon=self.horizon,
            control_dt=float(self.control_dt),
            cameras=self.cameras,
            state_size=len(self.simulator_state()),
            privileged_size=sizes["privileged"],
            proprioception_size=sizes["proprioception"],
            action_size=int(self.action_space.shape[0]),
            license=self.license,
        )


def import_environment(target: str) -> type[RobotEnvironment]:
    """The environment class at an import path.

    Raises:
        ConfigurationError: the path leads nowhere, or to something that is no environment.
    """
    found: type[RobotEnvironment] = import_target("env", target, base=RobotEnvironment)
    return found
