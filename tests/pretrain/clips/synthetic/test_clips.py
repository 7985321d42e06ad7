import dataclasses
import hashlib
import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from pretrain.clips.clip import HAND, LEFT, RIGHT
from pretrain.clips.synthetic import SPLITS, SyntheticClipConfig, SyntheticClips
from pretrain.clips.synthetic.actions import ACTIONS
from pretrain.clips.synthetic.captions import _DIRECTIONS, _VERBS
from pretrain.clips.synthetic.views import ViewsConfig
from pretrain.model.tokenizer import tokenize

CONFIG = SyntheticClipConfig(resolution=64, map_resolution=64, domain="mixed")
COUNT = 36


def fingerprint(clip):
    digest = hashlib.sha256()
    for array in (clip.frames, clip.depth, clip.masks, clip.boxes.xyxy, clip.camera_pose):
        digest.update(array.tobytes())
    digest.update(repr((clip.narration, clip.caption, clip.distractors, clip.extra)).encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def source():
    source = SyntheticClips(CONFIG, "train")
    yield source
    source.close()


@pytest.fixture(scope="module")
def clips(source):
    return [source.render(seed) for seed in range(COUNT)]


def boxes_of(clip, track):
    """Box of a track by frame."""
    rows = np.flatnonzero(clip.boxes.track == track)
    return {int(clip.boxes.frame[row]): clip.boxes.xyxy[row] for row in rows}


def noun_of(clip, track):
    return {**clip.extra["objects"], **clip.extra["furniture"]}[str(track)]


def median_depth(clip, track, frame):
    return float(np.median(clip.depth[frame][clip.masks[frame] == track + 1]))


def test_clips_hold_what_the_contract_says(clips):
    for clip in clips:
        clip.check()
        assert clip.frames.shape == (4, 64, 64, 3)
        assert clip.depth.shape == clip.masks.shape == (4, 64, 64)
        assert clip.depth_kind == "metric"
        assert clip.camera_pose.shape == (4, 7)
        np.testing.assert_allclose(np.linalg.norm(clip.camera_pose[:, 3:], axis=1), 1, atol=1e-5)
        assert clip.narration.startswith("#C C ")
        assert len(clip.distractors) == 4


def test_a_seed_draws_the_same_clip_in_another_process(clips):
    code = (
        "from tests_of_clips import CONFIG, fingerprint\n"
        "from pretrain.clips.synthetic import render_clip\n"
        "print(*(fingerprint(render_clip(CONFIG, 'train', seed)) for seed in (5, 2)))"
    )
    loader = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('tests_of_clips', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['tests_of_clips'] = module\n"
        "spec.loader.exec_module(module)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", loader + code],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "LP_NUM_THREADS": "1"},
        check=False,
    )
    assert process.returncode == 0, process.stderr
    # Drawn in another order, too: nothing is left over from the clip before.
    assert process.stdout.split() == [fingerprint(clips[5]), fingerprint(clips[2])]


def test_splits_share_no_scene_and_no_surface(clips):
    banks, scenes = {}, {clip.scene for clip in clips}
    for split in SPLITS[1:]:
        other = SyntheticClips(CONFIG, split)
        clip = other.render(0)
        scenes_before = len(scenes)
        scenes.add(clip.scene)
        assert len(scenes) == scenes_before + 1
        assert clip.caption != clips[0].caption or (clip.frames != clips[0].frames).any()
        banks[split] = {surface.image.tobytes() for surface in other.bank}
        other.close()
    banks["train"] = {surface.image.tobytes() for surface in SyntheticClips(CONFIG, "train").bank}
    assert not banks["train"] & banks["validation"]
    assert not banks["train"] & banks["test"]
    assert not banks["validation"] & banks["test"]


def test_depth_is_the_distance_that_rays_find(source):
    clip = source.render(3)
    stage = source.stage
    size = CONFIG.maps
    scale = np.tan(np.deg2rad(stage.model.cam_fovy[0]) / 2) / (size / 2)
    groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)
    generator = np.random.default_rng(0)
    errors = []
    for frame in range(4):
        stage.set_frame(frame)
        rotation = stage.data.cam_xmat[0].reshape(3, 3)
        for row, column in generator.integers(0, size, (250, 2)):
            if 1 <= clip.masks[frame, row, column] <= 2:
                continue  # rays pass through skins
            x, y = (column + 0.5 - size / 2) * scale, -(row + 0.5 - size / 2) * scale
            direction = rotation @ np.array([x, y, -1.0])
            length = np.linalg.norm(direction)
            distance = mujoco.mj_ray(
                stage.model,
                stage.data,
                stage.data.cam_xpos[0],
                direction / length,
                groups,
                1,
                -1,
                np.zeros(1, np.int32),
            )
            if distance >= 0:
                errors.append(abs(distance / length - clip.depth[frame, row, column]))
    assert len(errors) > 500
    # Round shapes are drawn with ten sides, so that a few pixels at their borders differ.
    assert np.quantile(errors, 0.9) < 1e-3
    assert np.mean(np.array(errors) > 0.02) < 0.05


def test_boxes_are_the_bounds_of_the_masks(clips):
    for clip in clips:
        seen = {(int(t), int(f)) for t, f in zip(clip.boxes.track, clip.boxes.frame, strict=True)}
        for frame in range(4):
            for value in np.unique(clip.masks[frame]):
                if value == 0:
                    continue
                rows, columns = np.nonzero(clip.masks[frame] == value)
                left, top, right, bottom = boxes_of(clip, value - 1)[frame] * 64
                assert left == columns.min()
                assert top == rows.min()
                assert right == columns.max() + 1
                assert bottom == rows.max() + 1
                seen.discard((int(value) - 1, frame))
        assert not seen


def test_hands_have_their_side_and_touch_what_they_act_on(clips):
    for clip in clips:
        boxes, extra = clip.boxes, clip.extra
        hands = np.array([name == HAND for name in boxes.category])
        assert (boxes.side[hands] == np.where(boxes.track[hands] == 0, LEFT, RIGHT)).all()
        assert (boxes.side[~hands] == 0).all()
        acting = {"left": {LEFT}, "right": {RIGHT}, "both": {LEFT, RIGHT}}[extra["hand"]]
        touching = set(boxes.side[hands & boxes.contact].tolist())
        assert touching >= acting
        # Another hand only touches what it holds all the time.
        for idle in touching - acting:
            assert boxes.contact[hands & (boxes.side == idle)].all()
            acting_rows = hands & (boxes.side != idle)
            hands = acting_rows
        subject = boxes_of(clip, extra["subject_track"])
        touched = np.flatnonzero(hands & boxes.contact)
        assert len(touched)
        for row in touched:
            frame = int(boxes.frame[row])
            if frame not in subject:
                continue  # hidden by the hand
            a, b = boxes.xyxy[row], subject[frame]
            gap = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])
            assert gap < 0.06, (clip.key, clip.caption, frame)


def check_statements(clips):
    """Kinds of the statements, each of which holds by boxes, masks and depth."""
    checked = set()
    for clip in clips:
        for statement in clip.extra["statements"]:
            kind, track, value = statement["kind"], statement["track"], statement["value"]
            first, last = statement["span"]
            checked.add(kind)
            if kind == "hand":
                acts = clip.boxes.contact & (clip.boxes.track == track)
                assert acts.any()
                assert {1: "left", 2: "right"}[int(clip.boxes.side[acts][0])] == value
                continue
            own = boxes_of(clip, track)
            center = {f: ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for f, box in own.items()}
            if kind == "region":
                x, y = center[0]
                assert ("left" in value) == (x < 0.36)
                assert ("right" in value) == (x > 0.64)
                assert (value in ("top", "upper left", "upper right")) == (y < 0.36)
                assert (value in ("bottom", "lower left", "lower right")) == (y > 0.64)
                assert value in clip.caption
            elif kind == "motion":
                dx, dy = (center[last][axis] - center[first][axis] for axis in (0, 1))
                if value in ("left", "right"):
                    assert dx * (1 if value == "right" else -1) > 0.05
                elif value in ("up", "down"):
                    assert dy * (1 if value == "down" else -1) > 0.05
                else:
                    dz = median_depth(clip, track, last) - median_depth(clip, track, first)
                    assert dz * (1 if value == "away" else -1) > 0.04
            elif kind in ("to the left of", "to the right of"):
                other = boxes_of(clip, value)[0]
                middle = (other[0] + other[2]) / 2
                assert (center[0][0] < middle) == (kind == "to the left of")
                assert f"{kind} the {noun_of(clip, value)}" in clip.caption
            else:
                nearer = median_depth(clip, track, 0) < median_depth(clip, value, 0)
                assert nearer == (kind == "nearer than")
                assert f"{kind} the {noun_of(clip, value)}" in clip.caption
    return checked


def test_statements_hold_by_boxes_masks_and_depth(clips):
    assert check_statements(clips) >= {"hand", "region", "motion", "to the left of", "nearer than"}


def test_statements_hold_from_the_wrist_and_from_beside():
    for view in ("wrist", "third"):
        views = ViewsConfig(**{"head": 0.0, view: 1.0})
        source = SyntheticClips(dataclasses.replace(CONFIG, views=views), "validation")
        clips = [source.render(seed) for seed in range(16)]
        source.close()
        checked = check_statements(clips)
        assert checked >= {"hand", "region", "to the left of", "nearer than"}
        assert ("motion" in checked) == (view == "third")


def heads(action, direction, hand, subject, other):
    """Every way to say who does what."""
    way = "" if action in ("open", "close") and direction in ("away", "toward") else direction
    with_hand = " with both hands" if hand == "both" else f" with the {hand} hand"
    return {
        "#C C " + verb.format(s=subject, o=other, d=_DIRECTIONS[way or "none"]).strip() + with_hand
        for verb in _VERBS[action]
    }


def head_of(text):
    return text.split(";")[0].split(", moving")[0]


def test_distractors_differ_in_action_direction_or_hand_alone(clips):
    for clip in clips:
        extra = clip.extra
        true = heads(
            extra["action"], extra["direction"], extra["hand"], extra["subject"], extra["other"]
        )
        assert head_of(clip.caption) in true
        assert len({clip.caption, *clip.distractors}) == 5
        assert any(
            extra["hand"] not in head_of(text).rsplit(" with ", 1)[1] for text in clip.distractors
        )
        for text in clip.distractors:
            assert head_of(text) not in true, text
            assert f"the {extra['subject']}" in text
            # What is said of places stays as it was.
            assert (
                text.split(";")[1:2] == clip.caption.split(";")[1:2]
                or "hand rests" in text
                or "hand holds" in text
            )


def test_actions_hands_and_views_vary(clips):
    extras = [clip.extra for clip in clips]
    assert len({extra["action"] for extra in extras}) >= 9
    assert {extra["hand"] for extra in extras} == {"left", "right", "both"}
    assert {extra["view"] for extra in extras} == {"head", "shoulder"}
    assert {extra["domain"] for extra in extras} == {"kitchen", "other"}


def test_frames_of_a_clip_differ_and_are_neither_black_nor_white(clips):
    for clip in clips:
        steps = np.abs(np.diff(clip.frames.astype(int), axis=0)).mean(axis=(1, 2, 3))
        assert (steps > 0.5).all()
        assert 15 < clip.frames.mean() < 240
        assert clip.frames.std() > 8


def test_texts_fit_the_text_encoder(clips):
    texts = [text for clip in clips for text in (clip.caption, clip.narration, *clip.distractors)]
    tokens = tokenize(texts)
    assert (tokens[:, -1] == 0).all()


def test_a_configuration_that_cannot_be_drawn_is_refused():
    with pytest.raises(UnknownNameError, match="domain"):
        from_mapping(SyntheticClipConfig, {"domain": "kitchens"})
    with pytest.raises(UnknownNameError, match="action 'fly'"):
        SyntheticClipConfig(actions=["fly"])
    with pytest.raises(ConfigurationError, match="at least 1 frame"):
        SyntheticClipConfig(frames=0)
    with pytest.raises(UnknownNameError, match="split"):
        SyntheticClips(CONFIG, "training")


def test_one_frame_is_a_clip_and_actions_can_be_chosen():
    config = SyntheticClipConfig(frames=1, resolution=32, actions=["open"])
    source = SyntheticClips(config, "train")
    clip = source.render(0)
    source.close()
    clip.check()
    assert clip.frames.shape == (1, 32, 32, 3)
    assert clip.depth.shape == (1, 8, 8)
    assert clip.extra["action"] == "open"
    assert set(ACTIONS) > {"open"}
