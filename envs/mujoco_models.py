"""What is done to every MuJoCo model of an environment: add cameras, drop textures, hash."""

import hashlib
from collections.abc import Sequence

import mujoco
import numpy as np

from egodtm_robot.core.errors import UnknownNameError
from envs.cameras import Camera


def add_cameras(spec: mujoco.MjSpec, cameras: Sequence[Camera]) -> None:
    """Fixes cameras to their bodies.

    Raises:
        UnknownNameError: a camera's body or target is not in the specification.
    """
    bodies = {body.name: body for body in spec.bodies}
    for camera in cameras:
        for body in (camera.body, camera.target):
            if body and body not in bodies:
                raise UnknownNameError("body of a camera", body, tuple(bodies))
        parent = bodies[camera.body] if camera.body else spec.worldbody
        added = parent.add_camera(
            name=camera.name, pos=camera.position, quat=camera.quaternion, fovy=camera.fovy
        )
        if camera.target:
            added.mode = mujoco.mjtCamLight.mjCAMLIGHT_TARGETBODY
            added.targetbody = camera.target


def remove_textures(spec: mujoco.MjSpec) -> None:
    """Makes every texture a single pixel."""
    for texture in spec.textures:
        texture.file = ""
        texture.cubefiles = [""] * 6
        texture.gridsize = [1, 1]
        texture.builtin = mujoco.mjtBuiltin.mjBUILTIN_FLAT
        flat = texture.type == mujoco.mjtTexture.mjTEXTURE_2D
        texture.width, texture.height = 1, 1 if flat else 6


def model_hash(model: mujoco.MjModel) -> str:
    """Sixteen hex digits over everything that moves: masses, joints, shapes, gains, options.

    Cameras, lights and colors are left out, so that a free camera does not make stored
    demonstrations foreign. Values are rounded to six significant digits, so that compilers that
    differ in the last bits agree.
    """
    digest = hashlib.sha256()
    for name in (
        "body_parentid",
        "body_mass",
        "body_inertia",
        "body_pos",
        "body_quat",
        "jnt_type",
        "jnt_range",
        "jnt_axis",
        "jnt_pos",
        "dof_damping",
        "dof_frictionloss",
        "dof_armature",
        "geom_type",
        "geom_contype",
        "geom_conaffinity",
        "geom_size",
        "geom_pos",
        "geom_friction",
        "actuator_gainprm",
        "actuator_forcerange",
        "actuator_ctrlrange",
    ):
        values = np.asarray(getattr(model, name))
        text = " ".join(f"{value:.6g}" for value in values.ravel().astype(np.float64) + 0.0)
        digest.update(f"{name}{values.shape}{text}".encode())
    digest.update(f"{model.opt.timestep:.6g} {model.opt.integrator}".encode())
    return digest.hexdigest()[:16]
