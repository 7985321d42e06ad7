import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import (
    Sam2HieraDetConfig,
    Sam2VideoConfig,
    Sam2VideoMaskDecoderConfig,
    Sam2VideoModel,
    Sam2VideoPromptEncoderConfig,
    Sam2VisionConfig,
)

from egodtm_robot.core.errors import WeightsError
from pretrain.annotate.errors import AnnotatorOptionError, MissingPackageError
from pretrain.annotate.stage import AnnotationFailure
from pretrain.annotate.tracking.association import Association, closeness
from pretrain.annotate.tracking.base import MAX_TRACKS, mask_bounds, tracked_boxes
from pretrain.annotate.tracking.byte_track import ByteTrack
from pretrain.annotate.tracking.sam2 import Sam2Tracker
from pretrain.clips.annotated_clip import AnnotatedClip, Detections
from pretrain.clips.clip import LEFT, NO_SIDE, RIGHT

SIZE = 64
COLORS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220)}


def box(x, y, size=0.2):
    """A square box around a point."""
    return (x - size / 2, y - size / 2, x + size / 2, y + size / 2)


def detections(*rows):
    """Detections of (frame, category, box) and optionally score, side and contact."""
    full = [(*row, *(0.9, NO_SIDE, False)[len(row) - 3 :]) for row in rows]
    frame, category, xyxy, score, side, contact = zip(*full, strict=True) if full else [()] * 6
    return Detections(
        frame=np.array(frame, np.int16),
        category=list(category),
        score=np.array(score, np.float32),
        side=np.array(side, np.int8),
        contact=np.array(contact, bool),
        xyxy=np.array(xyxy, np.float32).reshape(-1, 4),
    )


def clip_of(found, frames=None):
    frames = np.zeros((4, SIZE, SIZE, 3), np.uint8) if frames is None else frames
    return AnnotatedClip(
        key="clip",
        frames=frames,
        times=np.arange(len(frames)) / 2,
        narration="#C C picks up the cup",
        scene="scene",
        source="test",
        licence="CC0-1.0",
        detections=found,
    )


def painted(*squares):
    """Frames uint8 (4, 64, 64, 3) with squares of (frame, color, box)."""
    frames = np.full((4, SIZE, SIZE, 3), 120, np.uint8)
    for frame, color, xyxy in squares:
        left, top, right, bottom = np.round(np.array(xyxy) * SIZE).astype(int)
        frames[frame, top:bottom, left:right] = COLORS[color]
    return frames


def tracks_of(boxes, category):
    """Tracks by frame of a category."""
    found = {}
    for row, name in enumerate(boxes.category):
        if name == category:
            found.setdefault(int(boxes.frame[row]), []).append(int(boxes.track[row]))
    return found


def annotate(tracker, found, frames=None):
    (result,) = tracker.annotate([clip_of(found, frames)])
    result["boxes"].check(4)
    return result["boxes"]


LIGHT = [Association, ByteTrack]


@pytest.mark.parametrize("tracker", LIGHT)
def test_a_thing_keeps_its_number_from_the_first_frame_on(tracker):
    rows = [(frame, "cup", box(0.3 + 0.1 * frame, 0.5)) for frame in range(4)]
    boxes = annotate(tracker(), detections(*rows))
    assert tracks_of(boxes, "cup") == {0: [0], 1: [0], 2: [0], 3: [0]}
    np.testing.assert_allclose(boxes.xyxy, np.array([row[2] for row in rows]), atol=1e-6)


@pytest.mark.parametrize("tracker", LIGHT)
def test_a_thing_is_followed_where_its_boxes_no_longer_overlap(tracker):
    rows = [(frame, "hand", box(0.15 + 0.23 * frame, 0.5), 0.9, LEFT) for frame in range(4)]
    boxes = annotate(tracker(), detections(*rows))
    assert tracks_of(boxes, "hand") == {0: [0], 1: [0], 2: [0], 3: [0]}


@pytest.mark.parametrize("tracker", LIGHT)
def test_hands_that_cross_keep_their_numbers_by_their_sides(tracker):
    rows = []
    for frame, x in enumerate((0.3, 0.45, 0.55, 0.7)):
        rows.append((frame, "hand", box(x, 0.5), 0.9, LEFT))
        rows.append((frame, "hand", box(1 - x, 0.5), 0.9, RIGHT))
    boxes = annotate(tracker(), detections(*rows))
    assert (boxes.side == np.where(boxes.track == 0, LEFT, RIGHT)).all()
    assert len(boxes) == 8


@pytest.mark.parametrize("tracker", LIGHT)
def test_things_of_other_categories_are_never_the_same(tracker):
    rows = [(frame, "cup" if frame % 2 else "mug", box(0.5, 0.5)) for frame in range(4)]
    boxes = annotate(tracker(), detections(*rows))
    assert set(map(tuple, tracks_of(boxes, "cup").values())) == {(1,)}
    assert set(map(tuple, tracks_of(boxes, "mug").values())) == {(0,)}


@pytest.mark.parametrize("tracker", LIGHT)
def test_a_thing_is_found_again_after_frames_without_it_if_memory_lasts(tracker):
    rows = [(0, "cup", box(0.4, 0.5)), (3, "cup", box(0.42, 0.5))]
    assert set(annotate(tracker(memory=2), detections(*rows)).track) == {0}
    assert set(annotate(tracker(memory=1), detections(*rows)).track) == {0, 1}


@pytest.mark.parametrize("tracker", LIGHT)
def test_boxes_of_low_score_go_on_with_tracks_but_begin_none(tracker):
    rows = [(0, "cup", box(0.4, 0.5)), (1, "cup", box(0.42, 0.5), 0.2)]
    rows.append((1, "cup", box(0.9, 0.9), 0.2))
    boxes = annotate(tracker(), detections(*rows))
    assert tracks_of(boxes, "cup") == {0: [0], 1: [0]}


@pytest.mark.parametrize("tracker", LIGHT)
def test_a_clip_without_detections_has_no_boxes_and_one_without_the_stage_fails(tracker):
    tracker = tracker()
    clips = [clip_of(detections()), clip_of(None)]
    empty, failed = tracker.annotate(clips)
    assert len(empty["boxes"]) == 0
    assert empty["masks"] is None
    assert isinstance(failed, AnnotationFailure)
    assert "hands_objects" in failed.reason


@pytest.mark.parametrize("tracker", LIGHT)
def test_a_clip_s_tracks_do_not_depend_on_the_others_of_its_batch(tracker):
    tracker = tracker()
    first = detections(*[(f, "cup", box(0.2 + 0.1 * f, 0.5)) for f in range(4)])
    second = detections(*[(f, "cup", box(0.9 - 0.1 * f, 0.2)) for f in range(4)])
    together = tracker.annotate([clip_of(first), clip_of(second)])
    alone = tracker.annotate([clip_of(second)])[0]
    np.testing.assert_array_equal(together[1]["boxes"].track, alone["boxes"].track)
    np.testing.assert_array_equal(together[1]["boxes"].xyxy, alone["boxes"].xyxy)


@pytest.mark.parametrize("tracker", LIGHT)
def test_options_out_of_range_are_refused_and_change_the_fingerprint(tracker):
    for options in ({"activation": 1.5}, {"reach": 0}, {"memory": -1}, {"batch_size": 0}):
        with pytest.raises(AnnotatorOptionError, match="Expected activation"):
            tracker(**options)
    assert tracker().fingerprint == tracker().fingerprint
    assert tracker().fingerprint != tracker(reach=0.3).fingerprint


def test_colors_tell_apart_what_passes_one_another():
    ways = {"red": (0.4, 0.7), "blue": (0.6, 0.5)}
    placed = [
        (frame, color, box(xs[frame], 0.5, 0.1)) for frame in (0, 1) for color, xs in ways.items()
    ]
    rows = [(frame, "cup", xyxy) for frame, _, xyxy in placed]
    boxes = annotate(Association(), detections(*rows), painted(*placed))
    red = [boxes.track[(abs(boxes.xyxy[:, 0] - x + 0.05) < 0.01)] for x in ways["red"]]
    assert red[0] == red[1]


def test_a_hand_of_known_side_may_go_anywhere_and_other_things_may_not():
    rows = [(0, "hand", box(0.1, 0.1), 0.9, LEFT), (1, "hand", box(0.9, 0.9), 0.9, LEFT)]
    rows += [(0, "cup", box(0.1, 0.9)), (1, "cup", box(0.9, 0.1))]
    boxes = annotate(Association(), detections(*rows))
    assert tracks_of(boxes, "hand") == {0: [0], 1: [0]}
    assert tracks_of(boxes, "cup") == {0: [1], 1: [2]}


def test_the_camera_s_motion_is_taken_away():
    # Four equal things in a row; the camera turns by more than half of their distance.
    places = [0.15, 0.35, 0.55, 0.75]
    rows = [(0, f"thing {i}", box(x, 0.2, 0.1)) for i, x in enumerate(places)]
    rows += [(1, f"thing {i}", box(x + 0.14, 0.2, 0.1)) for i, x in enumerate(places)]
    rows += [(0, "door", box(0.3, 0.6, 0.15)), (0, "door", box(0.5, 0.6, 0.15))]
    rows += [(1, "door", box(0.44, 0.6, 0.15)), (1, "door", box(0.64, 0.6, 0.15))]
    boxes = annotate(Association(), detections(*rows))
    doors = tracks_of(boxes, "door")
    assert doors[0] == doors[1]


def test_closeness_falls_with_distance_and_with_size():
    one = np.array([box(0.5, 0.5)], np.float32)
    others = np.array([box(0.5, 0.5), box(0.6, 0.5), box(0.75, 0.5), box(0.5, 0.5, 0.05)])
    same, near, far, small = closeness(one, others, reach=0.2)[0]
    assert same == pytest.approx(1)
    assert same > near > far == 0
    assert same > small > 0


def test_numbers_are_given_to_hands_first_and_from_left_to_right():
    found = detections(
        (0, "cup", box(0.2, 0.5)),
        (0, "bowl", box(0.8, 0.5)),
        (1, "hand", box(0.9, 0.9), 0.9, RIGHT),
        (2, "hand", box(0.1, 0.9), 0.9, LEFT),
        (0, "plate", box(0.5, 0.5)),
    )
    boxes, rows = tracked_boxes(found, np.array([7, 3, 5, 1, -1]))
    names = dict(zip(boxes.track.tolist(), boxes.category, strict=True))
    assert names == {0: "hand", 1: "hand", 2: "cup", 3: "bowl"}
    assert boxes.side[boxes.track == 0] == LEFT
    assert [found.category[row] for row in rows] == boxes.category


def test_a_thing_has_one_box_a_frame_and_the_side_that_most_of_them_say():
    found = detections(
        (0, "hand", box(0.2, 0.5), 0.5, LEFT),
        (0, "hand", box(0.25, 0.5), 0.8, RIGHT),
        (1, "hand", box(0.2, 0.5), 0.9, RIGHT),
        (2, "hand", box(0.2, 0.5), 0.9, LEFT),
    )
    boxes, rows = tracked_boxes(found, np.zeros(4, int))
    assert rows.tolist() == [1, 2, 3]
    assert (boxes.side == RIGHT).all()


def test_more_things_than_masks_can_number_are_left_out():
    rows = [(0, "cup", box(0.5, 0.5)) for _ in range(MAX_TRACKS + 5)]
    boxes, _ = tracked_boxes(detections(*rows), np.arange(MAX_TRACKS + 5))
    assert len(boxes) == MAX_TRACKS
    assert boxes.track.max() == MAX_TRACKS - 1


def test_byte_track_without_a_display_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(MissingPackageError, match="pip install trackers"):
        ByteTrack()

    class WithoutDisplay:
        def find_spec(self, name, path=None, target=None):
            if name == "trackers":
                raise ImportError("libGL.so.1: cannot open shared object file")
            return None

    monkeypatch.delitem(sys.modules, "trackers")
    monkeypatch.setattr(sys, "meta_path", [WithoutDisplay(), *sys.meta_path])
    with pytest.raises(MissingPackageError, match="opencv-python-headless"):
        ByteTrack()


def test_bounds_of_a_mask_are_shares_of_the_image():
    mask = np.zeros((10, 20), bool)
    mask[2:5, 4:8] = True
    np.testing.assert_allclose(mask_bounds(mask), [0.2, 0.2, 0.4, 0.5])
    assert mask_bounds(np.zeros((4, 4), bool)) is None


# -------------------------------------------------------------------------------------------- SAM 2


@pytest.fixture(scope="module")
def tiny_sam(tmp_path_factory):
    """A SAM 2 of random weights on disk."""
    folder = tmp_path_factory.mktemp("sam2")
    backbone = Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, image_size=[64, 64], blocks_per_stage=[1, 1, 1, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[4, 4, 4, 4], global_attention_blocks=[],
        window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    config = Sam2VideoConfig(
        vision_config=Sam2VisionConfig(
            backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8],
            backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]], fpn_hidden_size=128,
        ),
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(hidden_size=128, image_size=64),
        mask_decoder_config=Sam2VideoMaskDecoderConfig(
            hidden_size=128, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16
        ),
        image_size=64, memory_attention_hidden_size=128, memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32, memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=128, mask_downsampler_embed_dim=128, memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32, memory_fuser_num_layers=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Sam2VideoModel(config).save_pretrained(folder)
    return folder


def test_sam2_runs_from_a_folder_and_repeats_itself(tiny_sam):
    tracker = Sam2Tracker(str(tiny_sam), map_size=14, device="cpu")
    found = detections(
        (0, "cup", box(0.3, 0.5)), (1, "cup", box(0.9, 0.9)), (2, "hand", box(0.5, 0.5), 0.9, LEFT)
    )
    frames = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), np.uint8)
    results = [tracker.annotate([clip_of(found, frames)])[0] for _ in range(2)]
    boxes, masks = results[0]["boxes"], results[0]["masks"]
    boxes.check(4)
    assert masks.shape == (4, 14, 14)
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) <= {0, *(boxes.track + 1)}
    assert {"cup", "hand"} <= set(boxes.category)
    np.testing.assert_array_equal(masks, results[1]["masks"])
    np.testing.assert_array_equal(boxes.xyxy, results[1]["boxes"].xyxy)


def test_sam2_s_fingerprint_tells_weights_apart_without_loading_them(tiny_sam, tmp_path):
    tracker = Sam2Tracker(str(tiny_sam))
    assert tracker.fingerprint == Sam2Tracker(str(tiny_sam)).fingerprint
    assert tracker.fingerprint != Sam2Tracker(str(tiny_sam), map_size=28).fingerprint
    for file in tiny_sam.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert tracker.fingerprint == Sam2Tracker(str(tmp_path)).fingerprint
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert tracker.fingerprint != Sam2Tracker(str(tmp_path)).fingerprint


def test_sam2_without_weights_says_so(tmp_path):
    with pytest.raises(WeightsError, match="Expected"):
        Sam2Tracker(str(tmp_path / "none"))
    with pytest.raises(AnnotatorOptionError, match="map_size"):
        Sam2Tracker("any", map_size=0)


class ColorModel:
    """Stands for SAM 2: a thing's mask is what has the color of the middle of its prompt."""

    config = SimpleNamespace(image_size=SIZE)

    def __init__(self):
        self.calls = []

    def __call__(self, session, frame_idx):
        self.calls.append(frame_idx)
        masks = []
        for index in range(session.get_obj_num()):
            ((prompted, prompt),) = session.point_inputs_per_obj[index].items()
            column, row = prompt["point_coords"].reshape(2, 2).mean(dim=0).long().tolist()
            color = session.get_frame(prompted)[:, row, column]
            alike = (session.get_frame(frame_idx) - color[:, None, None]).abs().amax(0) < 0.1
            masks.append(torch.where(alike, 10.0, -10.0))
        pred = torch.stack(masks)[:, None]
        return SimpleNamespace(
            pred_masks=pred, object_score_logits=(pred > 0).flatten(1).any(1).float()[:, None] - 0.5
        )


@pytest.fixture
def color_tracker(tiny_sam):
    tracker = Sam2Tracker(str(tiny_sam), map_size=SIZE, device="cpu")
    tracker._model = ColorModel()
    return tracker


def test_sam2_fills_in_what_the_detector_missed_with_the_mask_s_box(color_tracker):
    way = [box(0.25 + 0.125 * frame, 0.5, 0.25) for frame in range(4)]
    frames = painted(*[(frame, "red", xyxy) for frame, xyxy in enumerate(way)])
    found = detections((0, "cup", way[0]), (3, "cup", way[3]))
    (result,) = color_tracker.annotate([clip_of(found, frames)])
    boxes, masks = result["boxes"], result["masks"]
    assert tracks_of(boxes, "cup") == {0: [0], 1: [0], 2: [0], 3: [0]}
    np.testing.assert_allclose(boxes.xyxy, way, atol=1e-6)
    np.testing.assert_array_equal(masks == 1, (frames == COLORS["red"]).all(axis=-1))


def test_sam2_takes_a_box_away_from_all_masks_for_a_new_thing(color_tracker):
    first, second = box(0.25, 0.25, 0.25), box(0.75, 0.75, 0.25)
    frames = painted(*[(f, "red", first) for f in range(4)], *[(f, "blue", second) for f in (2, 3)])
    found = detections(*[(f, "cup", first) for f in range(4)], (2, "cup", second))
    (result,) = color_tracker.annotate([clip_of(found, frames)])
    assert tracks_of(result["boxes"], "cup") == {0: [0], 1: [0], 2: [0, 1], 3: [0, 1]}
    np.testing.assert_array_equal(result["masks"] == 2, (frames == COLORS["blue"]).all(axis=-1))


def test_sam2_s_things_end_where_they_are_out_of_sight(color_tracker):
    place = box(0.5, 0.5, 0.25)
    frames = painted((0, "red", place), (1, "red", place))
    (result,) = color_tracker.annotate([clip_of(detections((0, "cup", place)), frames)])
    assert result["boxes"].frame.tolist() == [0, 1]
    assert not result["masks"][2:].any()


def test_sam2_says_of_masks_that_meet_that_hand_and_thing_touch(color_tracker):
    hand, cup = box(0.375, 0.5, 0.25), box(0.625, 0.5, 0.25)
    far = box(0.875, 0.125, 0.125)
    squares = [(f, "red", hand) for f in range(4)]
    squares += [(f, "green", cup) for f in range(4)] + [(f, "blue", far) for f in range(4)]
    rows = [(0, "hand", hand, 0.9, LEFT), (0, "cup", cup), (0, "bowl", far)]
    (result,) = color_tracker.annotate([clip_of(detections(*rows), painted(*squares))])
    boxes = result["boxes"]
    touching = {boxes.category[row] for row in np.flatnonzero(boxes.contact)}
    assert touching == {"hand", "cup"}
    assert (boxes.side[boxes.track == 0] == LEFT).all()
