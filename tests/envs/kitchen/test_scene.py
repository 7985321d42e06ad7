import mujoco
import numpy as np
import pytest

from envs.cameras import Camera
from envs.kitchen import scene
from envs.kitchen.scene import (
    KETTLE_JOINT,
    ROBOT_JOINTS,
    KitchenAssetsError,
    build_model,
    textured_model,
)
from envs.kitchen.tasks import KITCHEN_JOINTS
from envs.mujoco_models import model_hash


@pytest.fixture(scope="module")
def model():
    return build_model()


def test_joints_actuators_and_cameras_have_our_names(model):
    for name in (*ROBOT_JOINTS, *KITCHEN_JOINTS, KETTLE_JOINT):
        assert model.joint(name).id >= 0
    assert model.nu == len(ROBOT_JOINTS)
    driven = [model.joint(model.actuator_trnid[index, 0]).name for index in range(model.nu)]
    assert tuple(driven) == ROBOT_JOINTS
    for name in ("left", "right", "top", "wrist"):
        assert model.camera(name).id >= 0


def test_the_lamp_and_the_burners_follow_their_switches(model):
    data = mujoco.MjData(model)
    data.joint("light").qpos[0] = -0.6
    data.joint("knob1").qpos[0] = -1.4
    for _ in range(50):
        mujoco.mj_step(model, data)
    assert abs(data.joint("light_joint").qpos[0]) > 1e-4
    assert abs(data.joint("bottom_right_burner").qpos[0]) > 1e-4


def test_the_scene_is_still_when_nothing_acts(model):
    data = mujoco.MjData(model)
    for _ in range(100):
        mujoco.mj_step(model, data)
    for name in KITCHEN_JOINTS:
        assert abs(data.joint(name).qpos[0]) < 0.02
    assert np.isfinite(data.qpos).all()


def test_only_textures_are_missing_and_with_them_much_of_the_memory(model):
    textured = textured_model()
    names = [name for name in dir(model) if isinstance(getattr(model, name), np.ndarray)]
    assert len(names) > 200
    for name in names:
        # Numbers of bytes among them.
        if name.startswith("tex_") or name == "_sizes":
            continue
        np.testing.assert_array_equal(getattr(model, name), getattr(textured, name), name)
    assert model.nbuffer < 0.6 * textured.nbuffer


def test_the_hash_names_what_moves_and_not_what_is_seen(model):
    expected = model_hash(model)
    assert len(expected) == 16
    free = Camera("ceiling", (0.0, 0.0, 3.5), (1.0, 0.0, 0.0, 0.0))
    other = build_model((free,))
    other.mat_rgba[:] = 0.5
    other.light_pos[:] += 1
    assert model_hash(other) == expected
    for name in ("body_mass", "dof_damping", "actuator_gainprm", "jnt_range", "geom_pos"):
        changed = build_model()
        getattr(changed, name)[-1] += 0.1
        assert model_hash(changed) != expected, name


def test_missing_assets_say_what_to_install(monkeypatch):
    monkeypatch.setattr(scene.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(KitchenAssetsError, match="pip install gymnasium-robotics"):
        scene.kitchen_xml()
