import dataclasses
import hashlib

import numpy as np
import pytest

from egodtm_robot.core.errors import ConfigurationError
from pretrain.clips.splits import DataConfig, cache_folder
from pretrain.clips.synthetic import SyntheticClipConfig, SyntheticClips
from pretrain.clips.synthetic.generate import store_attributes
from pretrain.clips.synthetic.views import ViewsConfig

SMALL = SyntheticClipConfig(resolution=48, map_resolution=48, domain="mixed")

# What the generator drew before there were other views: texts and camera of the first clips.
PINNED = "3822450005adccea"


def draw(config, seeds, split="train"):
    source = SyntheticClips(config, split)
    clips = [source.render(seed) for seed in seeds]
    source.close()
    return clips


def in_views(**weights):
    return dataclasses.replace(SMALL, views=ViewsConfig(**{"head": 0.0, **weights}))


@pytest.fixture(scope="module")
def wrist():
    return draw(in_views(wrist=1), range(14))


@pytest.fixture(scope="module")
def third():
    return draw(in_views(third=1), range(12))


def camera_axes(clip):
    """Right and forward of the camera on the floor, (T, 3) each, of length 1."""
    w, x, y, z = clip.camera_pose[:, 3:].astype(float).T
    right = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 0 * w], axis=1)
    forward = -np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 0 * w], axis=1)
    return (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (right, forward))


def test_default_settings_draw_what_they_drew_before():
    digest = hashlib.sha256()
    for clip in draw(SMALL, range(3)):
        digest.update(repr((clip.narration, clip.caption, clip.distractors)).encode())
        digest.update(np.round(clip.camera_pose, 3).astype("<f4").tobytes())
    assert digest.hexdigest()[:16] == PINNED


def test_stores_of_default_settings_are_known_by_what_they_were():
    config = SyntheticClipConfig()
    assert set(store_attributes(config, "train")) == {
        "source", "version", "split", "licence", "frames", "resolution", "map_resolution",
        "domain", "shoulder_share", "actions",
    }  # fmt: skip
    assert cache_folder(DataConfig()).name == "synthetic-128px-6a04167e11ac"
    other = dataclasses.replace(config, views=ViewsConfig(wrist=1.0))
    assert cache_folder(DataConfig(synthetic=other)).name != "synthetic-128px-6a04167e11ac"


def test_a_seed_has_one_scene_in_all_views_that_show_it(wrist):
    """The view is chosen apart: what the head sees is the same whatever else may be chosen."""
    mixed = draw(dataclasses.replace(SMALL, views=ViewsConfig(1, 1, 1)), range(14))
    kinds = [clip.extra["view"] for clip in mixed]
    assert {"wrist", "third"} < set(kinds)
    assert set(kinds) & {"head", "shoulder"}
    alone = draw(SMALL, [kinds.index("head")])[0]
    assert alone.caption == mixed[kinds.index("head")].caption
    np.testing.assert_array_equal(alone.frames, mixed[kinds.index("head")].frames)
    place = kinds.index("wrist")
    np.testing.assert_array_equal(mixed[place].frames, wrist[place].frames)


def test_a_wrist_sees_its_own_hand_and_comes_near(wrist):
    for clip in wrist:
        clip.check()
        extra = clip.extra
        assert extra["view"] == "wrist"
        assert extra["hand"] in (extra["worn"], "both")
        track = ("left", "right").index(extra["worn"])
        seen = (clip.masks == track + 1).mean(axis=(1, 2))
        assert (seen > 0.002).all()
        assert extra["worn_share"] == pytest.approx(seen.mean(), abs=1e-3)
        assert "moving" not in clip.caption  # what the camera comes to does not move
    near = [np.median(clip.depth[clip.masks > 0]) for clip in wrist]
    far = [np.quantile(clip.depth, 0.99) for clip in wrist]
    assert np.median(near) < 0.4
    assert np.median(far) > 0.7
    # The camera is carried along: farther than a head sways.
    ways = [np.linalg.norm(np.ptp(clip.camera_pose[:, :3], axis=0)) for clip in wrist]
    assert np.median(ways) > 0.1


def test_from_beside_the_person_is_in_the_picture(third):
    config = dataclasses.replace(in_views(third=1), dense=["segmentation"])
    clip = draw(config, [0])[0]
    np.testing.assert_array_equal(clip.frames, third[0].frames)
    assert (clip.segmentation == 8).mean() > 0.02
    for clip in third:
        clip.check()
        assert clip.extra["view"] == "third"
        assert "worn" not in clip.extra


def test_directions_mean_in_the_image_what_they_mean_to_the_wearer(wrist, third):
    told = 0
    for clip in [*wrist, *third]:
        extra = clip.extra
        right, forward = camera_axes(clip)
        if extra["action"] in ("open", "close") and extra["direction"] in ("toward", "away"):
            continue  # is not said
        if extra["direction"] in ("left", "right"):
            assert (right[:, 0] > 0.79).all()
            told += 1
        elif extra["direction"] in ("toward", "away"):
            assert (forward[:, 1] > 0.79).all()
            told += 1
    assert told


def test_weights_that_choose_nothing_are_refused():
    with pytest.raises(ConfigurationError, match="weights of the views"):
        ViewsConfig(head=0.0)
    with pytest.raises(ConfigurationError, match="weights of the views"):
        ViewsConfig(wrist=-1.0)
    with pytest.raises(ConfigurationError, match="weights of the views"):
        ViewsConfig(wrist=float("nan"))
