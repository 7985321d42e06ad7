import colorsys

import mujoco
import numpy as np
import pytest

from egodtm_robot.core.errors import InvalidStateError, UnknownNameError
from envs.kitchen import KitchenEnv
from envs.kitchen.scene import build_model
from envs.kitchen.visuals import SURFACES, VISUAL_PRESETS, KitchenVisuals

LOOKS = ("cam_pos", "cam_quat", "light_pos", "light_dir", "light_diffuse", "mat_rgba")


@pytest.fixture(scope="module")
def model():
    return build_model()


def looks(model):
    head = model.vis.headlight
    return {name: getattr(model, name).copy() for name in LOOKS} | {
        "head": np.stack([head.ambient, head.diffuse, head.specular])
    }


def draws(model, preset, count=150):
    visuals = KitchenVisuals(model)
    generator = np.random.default_rng(0)
    records = [visuals.draw(VISUAL_PRESETS[preset], generator) for _ in range(count)]
    return {name: np.stack([record[name] for record in records]) for name in records[0]}


def hue_distance(model, colors):
    """Degrees between drawn and nominal hue (count, 5); of the tint where nominal is white."""
    distances = []
    for index, surface in enumerate(SURFACES.values()):
        nominal = model.material(surface.materials[0]).rgba[:3]
        hue, saturation, _ = colorsys.rgb_to_hsv(*nominal)
        hue = hue * 360 if saturation > 0 else surface.white_hue
        drawn = np.array([colorsys.rgb_to_hsv(*color)[0] * 360 for color in colors[:, index]])
        distances.append(np.abs((drawn - hue + 180) % 360 - 180))
    return np.stack(distances, axis=1)


def within(values, *intervals):
    margin = 1e-9
    inside = np.zeros(values.shape, bool)
    for low, high in intervals:
        inside |= (values >= low - margin) & (values <= high + margin)
    return inside.all()


def test_varied_and_shifted_draw_from_their_documented_and_disjoint_ranges(model):
    documented = {
        "varied": ([(0, 0.02)], [(0, 1.5)], [(0, 0.5)], [(0.7, 1.3)], [(0, 25)]),
        "shifted": (
            [(0.03, 0.05)],
            [(2.5, 4.0)],
            [(0.7, 1.0)],
            [(0.4, 0.6), (1.4, 1.7)],
            [(60, 180)],
        ),
    }
    for preset, (shift, turn, light, strength, hue) in documented.items():
        record = draws(model, preset)
        assert within(np.linalg.norm(record["visual_camera_shift"], axis=-1), *shift)
        assert within(np.rad2deg(np.linalg.norm(record["visual_camera_turn"], axis=-1)), *turn)
        assert within(np.linalg.norm(record["visual_light_shift"], axis=-1), *light)
        # One strength an episode, times each channel's color.
        channels = [(0.94, 1.06)] if preset == "varied" else [(0.8, 0.9), (1.1, 1.2)]
        factors = record["visual_light_strength"]
        assert within(factors, *[(a * c, b * d) for a, b in strength for c, d in channels])
        drawn = record["visual_colors"]
        saturated = np.ptp(drawn, axis=-1) > 1e-3
        assert within(hue_distance(model, drawn)[saturated], *hue)
        # The draws are spread over their range.
        assert np.ptp(factors) > 0.4
        assert np.ptp(drawn, axis=0).min() > 0.02


def test_fixed_is_exactly_nominal(model):
    nominal = looks(model)
    visuals = KitchenVisuals(model)
    visuals.apply(visuals.draw(VISUAL_PRESETS["fixed"], np.random.default_rng(3)))
    for name, values in looks(model).items():
        np.testing.assert_array_equal(values, nominal[name], err_msg=name)


def test_nothing_leaks_from_one_episode_to_the_next(model):
    nominal = looks(model)
    visuals = KitchenVisuals(model)
    generator = np.random.default_rng(0)
    first = visuals.draw(VISUAL_PRESETS["varied"], generator)
    visuals.apply(first)
    expected = looks(model)
    assert all(not np.array_equal(expected[name], nominal[name]) for name in expected)
    for _ in range(20):
        visuals.apply(visuals.draw(VISUAL_PRESETS["shifted"], generator))
    visuals.apply(first)
    for name, values in looks(model).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
    visuals.apply(visuals.draw(VISUAL_PRESETS["fixed"], np.random.default_rng(0)))
    for name, values in looks(model).items():
        np.testing.assert_array_equal(values, nominal[name], err_msg=name)


def test_cameras_move_and_turn_by_what_the_record_says(model):
    visuals = KitchenVisuals(model)
    nominal = looks(model)
    record = visuals.draw(VISUAL_PRESETS["shifted"], np.random.default_rng(1))
    visuals.apply(record)
    for row, name in enumerate(("left", "right", "top", "wrist")):
        index = model.camera(name).id
        scale = 0.25 if name == "wrist" else 1.0
        moved = np.linalg.norm(model.cam_pos[index] - nominal["cam_pos"][index])
        shift = np.linalg.norm(record["visual_camera_shift"][row])
        assert moved == pytest.approx(scale * shift, rel=1e-6)
        cosine = abs(model.cam_quat[index] @ nominal["cam_quat"][index])
        turn = np.linalg.norm(record["visual_camera_turn"][row])
        assert 2 * np.arccos(min(cosine, 1.0)) == pytest.approx(scale * turn, rel=1e-3)
    visuals.apply(visuals.draw(VISUAL_PRESETS["fixed"], np.random.default_rng(0)))


def test_the_physical_episode_of_a_seed_does_not_depend_on_the_looks():
    action = np.full(9, 0.2, np.float32)
    episodes = []
    for visual in VISUAL_PRESETS:
        env = KitchenEnv("knob", visual=visual, cameras=())
        states = []
        env.reset(seed=11)
        # The second episode goes on with the generator of the first.
        for _ in range(2):
            states.append(env.simulator_state())
            env.step(action)
            states.append(env.simulator_state())
            env.reset()
        episodes.append(np.stack(states))
    np.testing.assert_array_equal(episodes[0], episodes[1])
    np.testing.assert_array_equal(episodes[0], episodes[2])


def test_each_seed_looks_different_and_the_same_seed_the_same():
    env = KitchenEnv(visual="varied", cameras=("left",), resolution=48)
    images = [env.reset(seed=seed)[0]["rgb"]["left"] for seed in (0, 1, 0)]
    assert np.abs(images[0].astype(int) - images[1]).mean() > 3
    np.testing.assert_array_equal(images[0], images[2])
    env.close()


def test_restore_gives_the_same_picture_in_another_environment():
    env = KitchenEnv(visual="shifted", cameras=("left",), resolution=48)
    env.reset(seed=5)
    observation = env.step(np.full(9, 0.3, np.float32))[0]
    state, record = env.simulator_state(), env.reset_record()
    # As the command `render` does it: other cameras, any preset, looks from the record.
    other = KitchenEnv(visual="fixed", cameras=("right", "left"), resolution=48)
    other.reset(seed=9)
    other.restore(state, record)
    np.testing.assert_array_equal(other.render_camera("left"), observation["rgb"]["left"])
    other.reset(seed=9)
    fresh = KitchenEnv(visual="fixed", cameras=("right",), resolution=48)
    expected = fresh.reset(seed=9)[0]["rgb"]["right"]
    np.testing.assert_array_equal(other.observe()["rgb"]["right"], expected)
    for each in (env, other, fresh):
        each.close()


def test_records_have_the_same_shapes_under_all_presets_and_cameras():
    shapes = []
    side = {"name": "side", "position": [1.5, 0.3, 2.2], "look_at": [0.0, 0.4, 1.8]}
    for visual, cameras in (("fixed", ()), ("varied", ("left", side)), ("shifted", ("wrist",))):
        env = KitchenEnv(visual=visual, cameras=cameras)
        shapes.append({name: values.shape for name, values in env.reset_record().items()})
        assert all(values.dtype == np.float64 for values in env.reset_record().values())
        env.close()
    assert shapes[0] == shapes[1] == shapes[2]


def test_a_record_is_a_copy():
    env = KitchenEnv(visual="varied", cameras=())
    env.reset(seed=0)
    record = env.reset_record()
    record["visual_colors"][:] = 0
    assert env.reset_record()["visual_colors"].max() > 0


@pytest.mark.parametrize("damage", ["missing", "shape", "nan"])
def test_a_foreign_record_is_refused_and_changes_nothing(model, damage):
    visuals = KitchenVisuals(model)
    record = visuals.draw(VISUAL_PRESETS["varied"], np.random.default_rng(0))
    if damage == "missing":
        del record["visual_colors"]
    elif damage == "shape":
        record["visual_colors"] = record["visual_colors"][:2]
    else:
        record["visual_colors"][0, 0] = np.nan
    before = looks(model)
    with pytest.raises(InvalidStateError, match="visual_colors"):
        visuals.apply(record)
    for name, values in looks(model).items():
        np.testing.assert_array_equal(values, before[name])


def test_an_unknown_preset_is_refused():
    with pytest.raises(UnknownNameError, match="fixed, varied, shifted"):
        KitchenEnv(visual="vary", cameras=())


def test_lamps_that_shine_on_a_point_still_do_when_they_move(model):
    visuals = KitchenVisuals(model)
    before = model.light_dir.copy()
    visuals.apply(visuals.draw(VISUAL_PRESETS["shifted"], np.random.default_rng(2)))
    norms = np.linalg.norm(model.light_dir, axis=1)
    np.testing.assert_allclose(norms, 1.0, atol=1e-6)
    directional = model.light_type == mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    cosine = (model.light_dir * before).sum(axis=1)
    assert (cosine[directional] < 1 - 1e-3).all()
    assert (cosine[directional] > 0.5).all()
    visuals.apply(visuals.draw(VISUAL_PRESETS["fixed"], np.random.default_rng(0)))
