import mujoco
import numpy as np
import pytest

from egodtm_robot.core.errors import UnknownNameError
from envs.cameras import CameraError, look_at_quaternion, resolve_cameras
from envs.kitchen import KITCHEN_CAMERAS, Camera, KitchenEnv

SIDE = {"name": "side", "position": [1.5, 0.3, 2.2], "look_at": [0.0, 0.4, 1.8]}


def test_names_objects_and_mappings_become_cameras_in_order():
    free = Camera("ceiling", (0.0, 0.0, 3.5), (1.0, 0.0, 0.0, 0.0))
    cameras = resolve_cameras(["top", free, SIDE], KITCHEN_CAMERAS)
    assert [camera.name for camera in cameras] == ["top", "ceiling", "side"]
    assert cameras[0] == KITCHEN_CAMERAS["top"]
    assert cameras[2].fovy == 45.0


def test_hydra_lists_and_mappings_work():
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create({"cameras": ["left", SIDE]})
    expected = resolve_cameras(["left", SIDE], KITCHEN_CAMERAS)
    assert resolve_cameras(config.cameras, KITCHEN_CAMERAS) == expected


@pytest.mark.parametrize(
    ("position", "target"),
    [((1.5, 0.3, 2.2), (0.0, 0.4, 1.8)), ((0.0, 0.0, 3.0), (0.0, 0.0, 0.0))],
)
def test_look_at_centers_the_target_upright(position, target):
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, np.array(look_at_quaternion(position, target)))
    right, up, back = rotation.reshape(3, 3).T
    ahead = np.subtract(target, position)
    np.testing.assert_allclose(-back, ahead / np.linalg.norm(ahead), atol=1e-9)
    assert right[2] == pytest.approx(0.0, abs=1e-9)
    assert up[2] >= 0.0


def test_a_free_camera_is_in_the_model_and_sees():
    env = KitchenEnv(
        cameras=("left", {**SIDE, "fovy": 30.0}), resolution=(24, 32), modalities=("rgb",)
    )
    observation, _ = env.reset(seed=0)
    assert env.model.camera("side").fovy[0] == 30.0
    assert observation["rgb"]["side"].shape == (24, 32, 3)
    assert observation["rgb"]["side"].std() > 10
    assert env.observation_space.contains(observation)
    env.close()


def test_a_free_camera_on_a_body_rides_with_it():
    camera = {
        "name": "elbow",
        "position": [0.0, 0.0, 0.3],
        "quaternion": [1, 0, 0, 0],
        "body": "panda0_link4",
    }
    env = KitchenEnv(cameras=(camera,), resolution=8)
    env.reset(seed=0)
    before = env.data.camera("elbow").xpos.copy()
    for _ in range(5):
        env.step(np.full(9, 0.5, np.float32))
    assert np.linalg.norm(env.data.camera("elbow").xpos - before) > 0.01
    env.close()


def test_free_cameras_do_not_make_stored_demonstrations_foreign():
    plain, free = KitchenEnv(cameras=()), KitchenEnv(cameras=(SIDE,))
    assert plain.model_hash == free.model_hash
    assert plain.simulator_state().shape == free.simulator_state().shape


def test_the_wrist_camera_sees_both_fingers_and_what_is_between():
    env = KitchenEnv(cameras=("wrist",), resolution=64, modalities=("segmentation",))
    observation, _ = env.reset(seed=0)
    seen = observation["segmentation"]["wrist"]
    left, right = (
        np.argwhere(seen == env.model.body(f"panda0_{side}finger").id) for side in ("left", "right")
    )
    assert len(left) > 40
    assert len(right) > 40
    # One on each side, with the grip's center between them, in the picture.
    columns = sorted([left[:, 1].mean(), right[:, 1].mean()])
    assert columns[0] < 32 < columns[1]
    camera = env.data.camera("wrist")
    grip = camera.xmat.reshape(3, 3).T @ (env.data.site("end_effector").xpos - camera.xpos)
    assert np.abs(grip[:2] / grip[2]).max() < np.tan(np.deg2rad(35))
    # Robot parts leave more than half of the picture free.
    robot = env.model.body_rootid[seen] == env.model.body("robot_base").id
    assert (robot & (seen >= 0)).mean() < 0.5
    env.close()


@pytest.mark.parametrize(
    ("camera", "error", "message"),
    [
        ("lefft", UnknownNameError, "'left'"),
        ({"name": "a", "look_at": [0, 0, 0]}, CameraError, "position"),
        ({"name": "a", "position": [0, 0, 3]}, CameraError, "neither"),
        ({**SIDE, "quaternion": [1, 0, 0, 0]}, CameraError, "both"),
        ({**SIDE, "fov": 3}, UnknownNameError, "fovy"),
        ({**SIDE, "fovy": 200}, CameraError, "180"),
        ({**SIDE, "fovy": "wide"}, CameraError, "'wide'"),
        ({**SIDE, "position": [0, 0]}, CameraError, "3 finite numbers"),
        ({**SIDE, "position": "above"}, CameraError, "3 finite numbers"),
        ({**SIDE, "position": [0, 0, float("nan")]}, CameraError, "3 finite numbers"),
        ({**SIDE, "look_at": SIDE["position"]}, CameraError, "look_at"),
        ({"name": "a", "position": [0, 0, 3], "quaternion": [0] * 4}, CameraError, "zero"),
        ({**SIDE, "name": "left"}, CameraError, "new name"),
    ],
)
def test_bad_cameras_are_refused_with_what_was_expected(camera, error, message):
    with pytest.raises(error, match=message):
        resolve_cameras([camera], KITCHEN_CAMERAS)


def test_a_camera_given_twice_is_refused():
    with pytest.raises(CameraError, match="twice"):
        resolve_cameras(["left", "left"], KITCHEN_CAMERAS)


def test_a_camera_on_an_unknown_body_is_refused():
    with pytest.raises(UnknownNameError, match="panda0_link7"):
        KitchenEnv(cameras=({**SIDE, "body": "panda0_link77"},))


@pytest.mark.parametrize(
    ("name", "body"), [("left_cap2", "knob 1"), ("right_cap2", "microwave"), ("follows", "kettle")]
)
def test_a_camera_with_a_target_turns_to_it_wherever_the_kitchen_is(name, body):
    free = {"name": "follows", "position": [0.0, -1.0, 3.0], "target": "kettle"}
    env = KitchenEnv(randomization="r3m", cameras=(free,), resolution=8)
    camera = env.model.camera(name).id
    turns = []
    for seed in range(3):
        env.reset(seed=seed)
        ahead = -env.data.cam_xmat[camera].reshape(3, 3)[:, 2]
        to_body = env.data.body(body).xpos - env.data.cam_xpos[camera]
        assert ahead @ to_body / np.linalg.norm(to_body) > 1 - 1e-6
        turns.append(ahead)
    assert np.ptp(turns, axis=0).max() > 1e-3
    assert env.describe().camera_poses["follows"]["target"] == "kettle"
    env.close()


def test_a_pose_without_a_target_is_stored_as_before_there_were_targets():
    env = KitchenEnv(cameras=("left", SIDE), resolution=8)
    for pose in env.describe().camera_poses.values():
        assert list(pose) == ["position", "quaternion", "fovy", "body"]
    env.close()


def test_a_stored_pose_with_a_target_is_the_description_of_the_same_camera():
    camera = KITCHEN_CAMERAS["left_cap2"]
    env = KitchenEnv(cameras=("left_cap2",), resolution=8)
    (pose,) = env.describe().camera_poses.values()
    (again,) = resolve_cameras([{"name": "mine", **pose}], KITCHEN_CAMERAS)
    assert (again.position, again.target) == (camera.position, camera.target)
    with pytest.raises(UnknownNameError, match="body of a camera"):
        KitchenEnv(cameras=({**SIDE, "target": "nothing"},))
