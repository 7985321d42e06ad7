import dataclasses

import numpy as np
import pytest

from pretrain.clips.synthetic import SyntheticClipConfig, SyntheticClips
from pretrain.clips.synthetic.looks import another_look

SMALL = SyntheticClipConfig(resolution=48, map_resolution=48)
SEEDS = range(6)


def draw(config):
    source = SyntheticClips(config, "train")
    clips = [source.render(seed) for seed in SEEDS]
    source.close()
    return clips


@pytest.fixture(scope="module")
def clips():
    return draw(dataclasses.replace(SMALL, dense=["looks"]))


def test_another_look_changes_nothing_else_of_a_clip(clips):
    for clip, plain in zip(clips, draw(SMALL), strict=True):
        assert clip.dense == ("looks",)
        clip.check()
        np.testing.assert_array_equal(clip.frames, plain.frames)
        np.testing.assert_array_equal(clip.depth, plain.depth)
        assert clip.caption == plain.caption


def test_looks_differ_and_edges_stay_where_they_are(clips):
    changed = [np.abs(c.looks.astype(int) - c.frames).mean() for c in clips]
    assert min(changed) > 3
    assert max(changed) > 20
    for clip in clips:
        # Where a silhouette of something that can be moved is in one look, there is one in the
        # other, too: gradients of the two are alike beyond chance.
        own, other = (
            np.hypot(*np.gradient(x.mean(-1), axis=(1, 2))) for x in (clip.frames, clip.looks)
        )
        shifted = np.roll(other, (11, 17), axis=(1, 2))
        assert np.corrcoef(own.ravel(), other.ravel())[0, 1] > 0.3
        assert (own * other).mean() > (own * shifted).mean()


def test_what_was_of_one_color_stays_of_one_color_and_poses_are_shared():
    source = SyntheticClips(SMALL, "train")
    kept = []
    drawn = source.stage.draw
    source.stage.draw = lambda picture: kept.append(picture) or drawn(picture)
    source.render(0)
    picture, bank = kept[-1], source.bank
    for seed in range(8):
        found = another_look(np.random.default_rng(seed), picture, bank)
        assert found.camera is picture.camera
        assert found.hands is picture.hands
        paints = {}
        for own, new in zip(picture.things, found.things, strict=True):
            assert new.poses is own.poses
            for before, after in zip(own.parts, new.parts, strict=True):
                assert (after.shape, after.size) == (before.shape, before.size)
                assert after.color[3] == before.color[3]
                if own.is_shadow:
                    assert after == before
                    continue
                paint = (after.surface, after.color)
                assert paints.setdefault((before.surface, before.color), paint) == paint
                if before.surface >= 0:
                    assert bank[after.surface].coordinates == bank[before.surface].coordinates
    again = another_look(np.random.default_rng(7), picture, bank)
    assert again.skin == found.skin
    assert again.ambient == found.ambient
    source.close()
