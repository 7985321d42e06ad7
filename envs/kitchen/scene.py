"""Builds the kitchen's MuJoCo model from the assets inside the gymnasium-robotics wheel.

Only that package's XML and meshes are used (its environment classes break on recent MuJoCo). They
are patched in memory: joints get the names of :data:`envs.kitchen.tasks.KITCHEN_JOINTS`, cameras
are added, and nothing is written to disk. Actuator gains, force limits, damping, friction loss and
joint ranges equal those of RoboHive's FK1; the slide cabinet's handle site is 2 cm off in y.
"""

import copy
import functools
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import mujoco
import numpy as np

from egodtm_robot.core.errors import EgoDTMRobotError
from envs.cameras import Camera
from envs.kitchen.cameras import KITCHEN_CAMERAS
from envs.mujoco_models import add_cameras, remove_textures

ARM_JOINTS: tuple[str, ...] = tuple(f"panda0_joint{index}" for index in range(1, 8))
ROBOT_JOINTS: tuple[str, ...] = (*ARM_JOINTS, "panda0_finger_joint1", "panda0_finger_joint2")
BASE_BODY = "robot_base"
KITCHEN_BODY = "desk"
END_EFFECTOR_SITE = "end_effector"
KETTLE_JOINT = "kettle"

_JOINT_NAMES = {
    "knob_Joint_1": "knob1",
    "knob_Joint_2": "knob2",
    "knob_Joint_3": "knob3",
    "knob_Joint_4": "knob4",
    "light_switch": "light",
    "left_hinge_cabinet": "left_hinge",
    "right_hinge_cabinet": "right_hinge",
}
_SITE_NAMES = {"hinge_site1": "leftdoor_site", "hinge_site2": "rightdoor_site"}

# Arm and fingers at reset: FK1's initial posture, radians and meters.
ROBOT_REST = np.array(
    [0.1010, -1.7635, 1.8897, -2.4766, 0.3252, 0.8291, 1.6246, 0.03998, 0.03998], dtype=np.float64
)

# FK1's position limits of the commands (they are wider than the joints' own ranges).
ROBOT_COMMAND_RANGE = np.array(
    [
        [-2.9671, 2.9671],
        [-1.8326, 1.8326],
        [-2.9671, 2.9671],
        [-3.1416, 0.0],
        [-2.9671, 2.9671],
        [-1.66, 2.1817],
        [-2.9671, 2.9671],
        [0.0, 0.04],
        [0.0, 0.04],
    ],
    dtype=np.float64,
)


class KitchenAssetsError(EgoDTMRobotError, FileNotFoundError):
    """The kitchen's XML and meshes are not where the gymnasium-robotics wheel puts them."""


def kitchen_xml() -> Path:
    """Path of the kitchen's MJCF file inside the installed gymnasium-robotics.

    Raises:
        KitchenAssetsError: the package or the file is missing.
    """
    # find_spec does not run the package, whose import prints notices and registers environments.
    spec = importlib.util.find_spec("gymnasium_robotics")
    if spec is None or spec.origin is None:
        raise KitchenAssetsError(
            "Expected the package gymnasium-robotics, which holds the kitchen's meshes; it is not "
            "installed. Install it with: pip install gymnasium-robotics"
        )
    path = (
        Path(spec.origin).parent / "envs/assets/kitchen_franka/kitchen_assets/kitchen_env_model.xml"
    )
    if not path.is_file():
        raise KitchenAssetsError(
            f"Expected the kitchen's model at {path}; this gymnasium-robotics has none there. "
            "Install a tested version: pip install 'gymnasium-robotics>=1.4.2,<1.5'"
        )
    return path


def kitchen_spec(cameras: Sequence[Camera] = tuple(KITCHEN_CAMERAS.values())) -> mujoco.MjSpec:
    """The kitchen as an editable specification, with the given cameras in it."""
    spec = mujoco.MjSpec.from_file(str(kitchen_xml()))
    for joint in spec.joints:
        joint.name = joint.name.removeprefix("robot:")
    for actuator in spec.actuators:
        actuator.target = actuator.target.removeprefix("robot:")
    rename_joints(spec, _JOINT_NAMES)
    for site in spec.sites:
        site.name = _SITE_NAMES.get(site.name, site.name)
    base = next(body for body in spec.worldbody.bodies if abs(body.pos[2] - 1.8) < 1e-9)
    base.name = BASE_BODY
    add_cameras(spec, cameras)
    return spec


def rename_joints(spec: mujoco.MjSpec, names: Mapping[str, str]) -> None:
    """Gives joints new names, also where equalities couple them and sensors read them."""
    for joint in spec.joints:
        joint.name = names.get(joint.name, joint.name)
    for equality in spec.equalities:
        equality.name1 = names.get(equality.name1, equality.name1)
        equality.name2 = names.get(equality.name2, equality.name2)
    for sensor in spec.sensors:
        sensor.objname = names.get(sensor.objname, sensor.objname)


def build_model(
    cameras: Sequence[Camera] = tuple(KITCHEN_CAMERAS.values()),
) -> mujoco.MjModel:
    """The kitchen, compiled once a process for each set of cameras; every call gives a copy.

    Its textures are single pixels: about half of a model's memory, they are needed but once a
    process, to be loaded into the graphics library (see :func:`textured_model`).
    """
    # Half a second to compile, and a run builds many environments: a copy takes a tenth.
    return copy.copy(_compiled(tuple(cameras)))


def textured_model(
    cameras: Sequence[Camera] = tuple(KITCHEN_CAMERAS.values()),
) -> mujoco.MjModel:
    """The kitchen with its textures; otherwise the same as :func:`build_model`'s."""
    return kitchen_spec(cameras).compile()


@functools.lru_cache(maxsize=8)
def _compiled(cameras: tuple[Camera, ...]) -> mujoco.MjModel:
    spec = kitchen_spec(cameras)
    remove_textures(spec)
    return spec.compile()
