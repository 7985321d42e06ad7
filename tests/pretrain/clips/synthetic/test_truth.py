import dataclasses

import numpy as np
import pytest

from egodtm_robot.core.errors import ConfigurationError, ForeignStoreError
from pretrain.clips.dense import CLASSES, DENSE_KINDS, frame_pairs
from pretrain.clips.store import ClipStore
from pretrain.clips.synthetic import SyntheticClipConfig, SyntheticClips, generate
from pretrain.clips.synthetic.views import ViewsConfig

CONFIG = SyntheticClipConfig(
    resolution=48, map_resolution=48, views=ViewsConfig(1, 1, 1), dense=list(DENSE_KINDS)
)
NUMBER = {name: number for number, name in enumerate(CLASSES)}


@pytest.fixture(scope="module")
def clips():
    source = SyntheticClips(CONFIG, "train")
    clips = [source.render(seed) for seed in range(12)]
    source.close()
    return clips


def rotation_of(pose):
    w, x, y, z = pose[3:].astype(float)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def in_world(clip, frame):
    """What the pixels of a frame show, (h, w, 3), from depth and the camera's pose alone."""
    size = clip.depth.shape[1]
    scale = np.tan(np.deg2rad(clip.extra["field_of_view"]) / 2)
    u, v = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size)
    depth = clip.depth[frame].astype(float)
    local = np.stack([(2 * u - 1) * scale * depth, (1 - 2 * v) * scale * depth, -depth], axis=-1)
    return local @ rotation_of(clip.camera_pose[frame]).T + clip.camera_pose[frame, :3]


def test_truth_changes_nothing_else(clips):
    source = SyntheticClips(dataclasses.replace(CONFIG, dense=[]), "train")
    plain = source.render(3)
    source.close()
    assert plain.dense == ()
    assert clips[3].dense == DENSE_KINDS
    assert plain.caption == clips[3].caption
    np.testing.assert_array_equal(plain.frames, clips[3].frames)
    np.testing.assert_array_equal(plain.depth, clips[3].depth)
    np.testing.assert_array_equal(plain.masks, clips[3].masks)


def test_classes_agree_with_masks(clips):
    total = np.zeros(len(CLASSES), int)
    for clip in clips:
        clip.check()
        masks, classes = clip.masks, clip.segmentation
        furniture = [int(track) + 1 for track in clip.extra["furniture"]]
        objects = [int(track) + 1 for track in clip.extra["objects"]]
        agreeing = [
            np.isin(masks, (1, 2)) == (classes == NUMBER["hand"]),
            ~np.isin(masks, objects) | (classes == NUMBER["object"]),
            # Fronts, handles, knobs and buttons are what moves of furniture.
            np.isin(masks, furniture)
            == np.isin(classes, [NUMBER[name] for name in ("front", "handle", "knob", "button")]),
        ]
        for one in agreeing:
            assert one.mean() > 0.999
        for track, noun in clip.extra["furniture"].items():
            own = classes[masks == int(track) + 1]
            if "knob" in noun:
                assert (own == NUMBER["knob"]).all()
            elif "button" in noun or "switch" in noun:
                assert (own == NUMBER["button"]).all()
            else:
                assert np.isin(own, [NUMBER["front"], NUMBER["handle"]]).all()
        total += np.bincount(classes.ravel(), minlength=len(CLASSES))
    assert (total > 0).all()


def test_a_handle_is_what_the_hand_goes_for():
    config = dataclasses.replace(CONFIG, views=ViewsConfig(), actions=["open"])
    source = SyntheticClips(config, "train")
    clips = [source.render(seed) for seed in range(3)]
    source.close()
    for clip in clips:
        track = clip.extra["subject_track"]
        handle = (clip.masks == track + 1) & (clip.segmentation == NUMBER["handle"])
        front = (clip.masks == track + 1) & (clip.segmentation == NUMBER["front"])
        assert 0 < handle[0].sum() < front[0].sum()
        hand = in_world(clip, 2)[np.isin(clip.masks[2], (1, 2))]
        distance = np.linalg.norm(in_world(clip, 2)[handle[2]][:, None] - hand, axis=2)
        assert not handle[2].any() or distance.min() < 0.05


def test_normals_are_those_of_the_surface(clips):
    known, rooms = [], []
    for clip in clips:
        for frame in range(4):
            normals = clip.normals[frame]
            valid = ~np.isnan(normals).any(axis=-1)
            known.append(valid.mean())
            np.testing.assert_allclose(np.linalg.norm(normals[valid], axis=-1), 1, atol=1e-3)
            # They look back at the camera.
            size = len(normals)
            scale = np.tan(np.deg2rad(clip.extra["field_of_view"]) / 2)
            u, v = np.meshgrid(*(((np.arange(size) + 0.5) / size * 2 - 1) * scale,) * 2)
            ray = np.stack([u, -v, -np.ones_like(u)], axis=-1)
            assert ((normals * ray).sum(-1)[valid] < 0.02).mean() > 0.97
            # Walls, floor and counter lie along the room's axes.
            room = valid & (clip.segmentation[frame] == NUMBER["room"])
            world = normals[room] @ rotation_of(clip.camera_pose[frame]).T
            rooms.append(np.abs(world).max(axis=-1))
    assert np.mean(known) > 0.97
    assert (np.concatenate(rooms) > 0.999).mean() > 0.97


def test_points_of_the_room_lie_where_the_camera_says(clips):
    errors = []
    for clip in clips:
        for (first, second), points in zip(frame_pairs(4), clip.points, strict=True):
            world = in_world(clip, first)
            still = (clip.segmentation[first] == NUMBER["room"]) & ~np.isnan(points[..., 0])
            rotation = rotation_of(clip.camera_pose[second])
            local = (world - clip.camera_pose[second, :3]) @ rotation
            scale = np.tan(np.deg2rad(clip.extra["field_of_view"]) / 2)
            place = 0.5 + local[..., :2] * [1, -1] / (-2 * scale * local[..., 2:])
            errors.append(np.abs(points[still] - place[still]).max(axis=-1))
    found = np.concatenate(errors)
    assert len(found) > 10_000
    # At borders the finer drawing may show the other side.
    assert (found < 2e-3).mean() > 0.99


def test_points_of_what_moves_move_with_it_and_hidden_ones_are_not_known(clips):
    lengths, alike, moved = [], [], 0
    for clip in clips:
        size = clip.depth.shape[1]
        for (first, second), points in zip(frame_pairs(4), clip.points, strict=True):
            valid = ~np.isnan(points[..., 0])
            assert not (valid & (clip.segmentation[first] == NUMBER["hand"])).any()
            cell = np.minimum((np.nan_to_num(points) * size).astype(int), size - 1)
            there = clip.masks[second][cell[..., 1], cell[..., 0]]
            alike.append((there == clip.masks[first])[valid].mean())
            subject = valid & (clip.masks[first] == clip.extra["subject_track"] + 1)
            subject &= there == clip.masks[first]
            if subject.sum() < 12:
                continue
            before = in_world(clip, first)[subject]
            after = in_world(clip, second)[cell[..., 1], cell[..., 0]][subject]
            moved += np.linalg.norm(after.mean(0) - before.mean(0)) > 0.05
            chosen = np.linspace(0, len(before) - 1, 8).astype(int)
            lengths.append(
                np.median(
                    np.abs(
                        np.linalg.norm(before[chosen][:, None] - before[chosen], axis=-1)
                        - np.linalg.norm(after[chosen][:, None] - after[chosen], axis=-1)
                    )
                )
            )
    assert moved > 5
    assert np.median(lengths) < 0.005
    assert np.mean(alike) > 0.95


def test_stores_keep_the_truth_and_refuse_other_truth(tmp_path, clips):
    generate(CONFIG, "train", 2, tmp_path / "a", 0, lambda done: None)
    store = ClipStore.open(tmp_path / "a")
    assert all(store.has(kind).all() for kind in DENSE_KINDS)
    clip = store[1]
    clip.check()
    np.testing.assert_array_equal(clip.segmentation, clips[1].segmentation)
    for kind, step in (("normals", 0.01), ("points", 1 / 65_000)):
        stored, drawn = getattr(clip, kind), getattr(clips[1], kind)
        np.testing.assert_array_equal(np.isnan(stored), np.isnan(drawn))
        np.testing.assert_allclose(stored, drawn, atol=step)
    plain = dataclasses.replace(CONFIG, dense=[])
    with pytest.raises(ForeignStoreError, match="dense None"):
        generate(plain, "train", 3, tmp_path / "a", 0, lambda done: None)


def test_truth_that_cannot_be_drawn_is_refused():
    with pytest.raises(ConfigurationError, match="at least 2 frames for dense"):
        SyntheticClipConfig(frames=1, dense=["points"])
    with pytest.raises(ConfigurationError, match="each kind of dense once"):
        SyntheticClipConfig(dense=["normals", "normals"])
