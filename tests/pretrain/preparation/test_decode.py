import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from egodtm_robot.core.errors import UnknownNameError
from pretrain.clips import ClipStore
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.depth_frames import DepthFrames
from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.store import StoreSource
from pretrain.clips.spans import DecodingConfig, frame_size
from pretrain.preparation.decode import decode_requests, group_by_video

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_store
from fake_videos import SIDE, number_frame, read_number, write_video

CONFIG = DecodingConfig(resolution=SIDE)


def request(video: Path, start_s: float = 0.0, end_s: float = 1.0, **fields) -> ClipRequest:
    given = {
        "key": f"{video.name}@{start_s}", "narration": "#C C stirs", "scene": "s", "source": "x",
        "licence": "CC0", "extra": {},
    }  # fmt: skip
    return ClipRequest(video=video, start_s=start_s, end_s=end_s, **(given | fields))


def test_broken_and_missing_videos_cost_their_own_clips_only(tmp_path):
    good = write_video(tmp_path / "good.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    requests = [
        request(good, 0, 1),
        request(text, 0, 1),
        request(text, 1, 2),
        request(tmp_path / "none.mp4"),
        request(good, 2, 1),
        request(good, 5, 6),
        request(good, 2.5, 4.5),
        request(good, 1, 2, extra={"crop": [1, 0, 0, 1]}),
        request(good, 1.5, 2.5),
    ]
    found = {one.key: one for one in decode_requests(requests, CONFIG)}
    assert len(found) == len(requests)
    for key, cut_s in (("good.mp4@0", None), ("good.mp4@1.5", None), ("good.mp4@2.5", 1.5)):
        clip = found[key]
        assert isinstance(clip, AnnotatedClip)
        assert clip.extra.get("cut_s") == cut_s
    reasons = {
        "text.mp4@0": "cannot open", "text.mp4@1": "cannot open", "none.mp4@0.0": "is nothing",
        "good.mp4@2": "ends after its start", "good.mp4@5": "within the video's 3.000 s",
        "good.mp4@1": "left, top, right and bottom",
    }  # fmt: skip
    for key, part in reasons.items():
        failure = found[key]
        assert isinstance(failure, Failure)
        assert failure.stage == "decode"
        assert part in failure.reason


def test_a_clip_carries_what_its_request_says(tmp_path):
    video = write_video(tmp_path / "a.mp4")
    asked = request(video, extra={"crop": [0.0, 0.0, 1.0, 1.0], "tag": 3})
    (clip,) = decode_requests([asked], CONFIG)
    assert isinstance(clip, AnnotatedClip)
    assert clip.frames.shape == (4, SIDE, SIDE, 3)
    assert clip.times.dtype == np.float64
    for name in ("key", "narration", "scene", "source", "licence", "extra"):
        assert getattr(clip, name) == getattr(asked, name)
    assert (clip.depth, clip.boxes, clip.caption) == (None, None, None)
    json.dumps(clip.extra)


def test_random_frames_of_a_clip_depend_on_seed_and_key_alone(tmp_path):
    video = write_video(tmp_path / "a.mp4", 100)
    requests = [request(video, start, start + 4) for start in range(5)]
    config = replace(CONFIG, sampling="random")

    def times(requests, config):
        return {clip.key: clip.times.tolist() for clip in decode_requests(requests, config)}

    all_of_them = times(requests, config)
    assert times(requests[3:4], config) == {requests[3].key: all_of_them[requests[3].key]}
    assert times(requests, replace(config, seed=1)) != all_of_them
    relative = [np.array(all_of_them[r.key]) - r.start_s for r in requests]
    assert len({tuple(values.round(6)) for values in relative}) == len(requests)


def test_groups_hold_neighbors_of_one_video():
    requests = [
        request(Path("ab"[place % 2]), float(start), start + 1.0)
        for place, start in enumerate([5, 1, 3, 9, 1, 4, 7])
    ]
    groups = list(group_by_video(requests, 3))
    assert [[r.start_s for r in group] for group in groups] == [[1, 3, 5], [7], [1, 4, 9]]
    assert all(len({r.video for r in group}) == 1 for group in groups)
    assert [len(group) for group in group_by_video(requests)] == [4, 3]


def test_clips_of_a_store_are_annotated_from_their_frames_alone(tmp_path):
    make_store(tmp_path / "clips", range(5))
    truth = ClipStore.open(tmp_path / "clips")
    requests = [
        r for r in StoreSource(str(tmp_path / "clips")).read() if isinstance(r, ClipRequest)
    ]
    clips = list(decode_requests(requests, DecodingConfig(resolution=32)))
    assert len(clips) == 5
    for clip in clips:
        assert isinstance(clip, AnnotatedClip)
        known = truth[clip.extra["row"]]
        np.testing.assert_array_equal(clip.frames, known.frames)
        assert (clip.key, clip.narration, clip.scene) == (known.key, known.narration, known.scene)
        assert clip.depth is None
        assert clip.extra == {"row": clip.extra["row"]}
    with_depth = StoreSource(str(tmp_path / "clips"), depth=True, clips=2)
    deep = list(decode_requests(with_depth.read(), DecodingConfig(resolution=32)))
    assert len(deep) == 2
    for clip in deep:
        assert isinstance(clip, AnnotatedClip)
        np.testing.assert_array_equal(clip.depth, truth[clip.extra["row"]].depth)
        assert clip.depth_kind == "metric"


# -- depth of a sensor ---------------------------------------------------------------------------


def depth_folder(folder: Path, maps: dict[int, np.ndarray]) -> Path:
    folder.mkdir()
    for number, values in maps.items():
        Image.fromarray(values.astype(np.uint16)).save(folder / f"depth_{number:04d}.png")
    return folder


def test_depth_beside_color_comes_with_the_frames_that_were_chosen(tmp_path):
    color = tmp_path / "color"
    color.mkdir()
    for number in range(3, 9):
        Image.fromarray(number_frame(number)).save(color / f"color_{number:04d}.jpeg")
    maps = {n: np.full((64, 96), 100 * n) for n in range(3, 9) if n != 7}
    maps[5][:, :48] = 0
    depth = depth_folder(tmp_path / "depth", maps)
    asked = request(color, 0, 0.6, extra={"fps": 10, "depth": {"folder": str(depth)}})
    (clip,) = decode_requests([asked], DecodingConfig(frames=6, resolution=SIDE, depth_size=8))
    assert isinstance(clip, AnnotatedClip)
    assert [read_number(frame) for frame in clip.frames] == [3, 4, 5, 6, 7, 8]
    assert clip.depth is not None
    assert clip.depth.shape == (6, 8, 8)
    assert clip.depth_kind == "metric"
    np.testing.assert_allclose(clip.depth[:2, 0, 0], [0.3, 0.4])
    # The sensor saw nothing on the left; the whole picture 7 is missing.
    assert np.isnan(clip.depth[2, :, :4]).all()
    np.testing.assert_allclose(clip.depth[2, :, 4:], 0.5)
    assert np.isnan(clip.depth[4]).all()
    assert clip.extra == {"fps": 10}


def test_depth_is_cut_as_the_picture_is(tmp_path):
    values = np.tile(np.arange(1, 97), (64, 1)) * 10
    folder = depth_folder(tmp_path / "depth", {0: values})
    sensor = DepthFrames(folder)
    whole = sensor.map(0, (96, 64), None, (8, 8))
    # The square in the middle of 96 x 64 begins at column 16; a cell is 8 wide.
    np.testing.assert_allclose(whole[0], [0.01 * (16 + 8 * c + 4.5) for c in range(8)], rtol=1e-5)
    quarter = sensor.map(0, (96, 64), (0.0, 0.0, 0.5, 0.5), (4, 4))
    np.testing.assert_allclose(quarter[0], [0.01 * (8 + 8 * c + 4.5) for c in range(4)], rtol=1e-5)
    # All of a picture that is half as wide again as it is high.
    wide = sensor.map(0, (96, 64), None, (8, 12), (32, 48))
    np.testing.assert_allclose(wide[0], [0.01 * (8 * c + 4.5) for c in range(12)], rtol=1e-5)
    with pytest.raises(UnknownNameError, match="fphab"):
        DepthFrames(folder, calibration="fhab")


@pytest.mark.parametrize("aspect", [1.5, 0.5])
def test_depth_of_frames_that_are_no_squares_shows_what_they_show(tmp_path, aspect):
    color = tmp_path / "color"
    color.mkdir()
    ramp = np.tile(np.arange(96, dtype=np.uint8)[None, :, None] * 2, (64, 1, 3))
    Image.fromarray(ramp).save(color / "0.png")
    depth = depth_folder(tmp_path / "depth", {0: 20 * np.tile(np.arange(1, 97), (64, 1))})
    asked = request(color, 0, 0.03, extra={"depth": {"folder": str(depth)}})
    config = DecodingConfig(frames=1, resolution=16, aspect=aspect, depth_size=8)
    (clip,) = decode_requests([asked], config)
    assert isinstance(clip, AnnotatedClip)
    assert clip.depth is not None
    assert clip.frames.shape[1:3] == frame_size(16, aspect)
    assert clip.depth.shape[1:] == frame_size(8, aspect)
    # Gray and depth grow alike along the picture, so that either tells the place of a cell.
    gray = clip.frames[0, :, :, 0].reshape(clip.depth.shape[1], 2, -1, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(clip.depth[0], 0.01 * gray + 0.02, atol=0.02)


def test_stored_clips_with_depth_keep_their_form(tmp_path):
    make_store(tmp_path / "clips", range(1))
    (asked,) = StoreSource(str(tmp_path / "clips"), depth=True).read()
    (failure,) = decode_requests([asked], DecodingConfig(resolution=32, aspect=1.5))
    assert isinstance(failure, Failure)
    assert "Expected decoding.aspect=1 for stored clips" in failure.reason


def test_depth_of_a_second_camera_is_carried_over_to_the_color_picture(tmp_path):
    # One step at the depth camera's center, 0.5 m away.
    values = np.zeros((480, 640))
    values[245, 316] = 500
    folder = depth_folder(tmp_path / "depth", {0: values})
    found = DepthFrames(folder, calibration="fphab").map(0, (1920, 1080), None, (540, 540))
    (row,), (column,) = np.nonzero(np.isfinite(found))
    # 25.7 mm to the side at 0.5 m are 71 pixels; the cameras' slight turn adds 1.4 to that and
    # takes back the 3.4 pixels that 1.2 mm downwards are.
    assert abs(2 * column + 420 - (935.7 + 72.4)) <= 3
    assert abs(2 * row - 540) <= 3
    assert found[row, column] == pytest.approx(0.5 + 0.0039, abs=0.002)


def test_a_sensor_of_real_hands_covers_what_the_camera_sees(sample):
    color, depth = sample("data/ego/fphab/color"), sample("data/ego/fphab/depth")
    extra = {"fps": 30, "depth": {"folder": str(depth), "calibration": "fphab"}}
    (clip,) = decode_requests([request(color, 0, 1.4, extra=extra)], CONFIG)
    assert isinstance(clip, AnnotatedClip)
    assert clip.depth is not None
    assert np.isfinite(clip.depth).mean() > 0.8
    # Hands at arm's length before a table.
    assert 0.1 < np.nanmin(clip.depth) < np.nanmax(clip.depth) < 3


def test_a_broken_depth_picture_costs_its_clip(tmp_path):
    color = tmp_path / "color"
    color.mkdir()
    Image.fromarray(number_frame(0)).save(color / "0.png")
    depth = tmp_path / "depth"
    depth.mkdir()
    (depth / "0.png").write_bytes(b"broken")
    asked = request(color, 0, 0.03, extra={"depth": {"folder": str(depth)}})
    (failure,) = decode_requests([asked], CONFIG)
    assert isinstance(failure, Failure)
    assert "0.png" in failure.reason
