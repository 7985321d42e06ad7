import math
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from PIL import Image

from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from pretrain.clips import spans as decoding
from pretrain.clips.decoded_frame import _SCALER, Orientation, Picture, check_crop
from pretrain.clips.spans import (
    DecodedClip,
    DecodingConfig,
    Span,
    decode_clip,
    decode_spans,
    frame_size,
    open_video,
    segment_times,
)
from pretrain.clips.tone_mapping import HLG, PQ, tone_map
from pretrain.clips.video_file import (
    ClipSpanError,
    DamagedVideoError,
    DecodingError,
    TruncatedVideoError,
    UnreadableVideoError,
    VideoFile,
    VideoNotFoundError,
)

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_videos import SIDE, decoded_frames, number_frame, read_number, write_video

TIMES = (2.05, 0.0, 2.75, 1.0, 1.999, 0.95, 2.9, 0.35)
"""Forward and back, on frames' times and between them, at both sides of a key frame's, and from the
end to the start."""

UNEVEN = (0.0, 0.1, 0.15, 0.2, 0.9, 1.0, 1.35, 1.36, 2.3, 2.5)

FORMS = {
    "h264.mp4": {},
    "no_b_frames.mp4": {"b_frames": 0},
    "open_gop.mp4": {"open_gop": True, "b_frames": 3},
    "with_sound.mp4": {"audio": True},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "uneven.mp4": {"frames": 10, "times": UNEVEN, "gop": 4},
    "starts_late.mp4": {"times": [0.5 + place / 10 for place in range(30)]},
    "h264.mkv": {},
    "h264.ts": {"open_gop": True, "audio": True},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 0},
    "hevc.mp4": {
        "codec": "libx265",
        "codec_options": {"x265-params": "log-level=error:open-gop=1:keyint=10:min-keyint=10"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "codec_options": {"deadline": "realtime"}},
    "lossless.mkv": {"codec": "ffv1"},
}


def shown(frames: list[tuple[float, np.ndarray]], time_s: float) -> tuple[float, np.ndarray]:
    """The last frame that does not come after a time, or else the first."""
    return max((f for f in frames if f[0] <= time_s), key=lambda f: f[0], default=frames[0])


@pytest.mark.parametrize("form", FORMS)
def test_the_frame_of_a_time_is_the_last_that_is_not_after_it(tmp_path, form):
    path = write_video(tmp_path / form, **FORMS[form])
    truth = decoded_frames(path)
    reformatter = VideoReformatter()
    with VideoFile(path) as video:
        for time_s in TIMES:
            if time_s > truth[-1][0] + 0.3:
                continue
            wanted_s, wanted = shown(truth, time_s)
            found = video.at(time_s)
            assert found.time_s == wanted_s
            square = found.square(SIDE, reformatter)
            left = (wanted.shape[1] - SIDE) // 2
            assert read_number(square) == read_number(wanted[:, left : left + SIDE])


@pytest.mark.parametrize("name", ["ego4d_clips/bristol.mp4", "ego4d_clips/tokyo.mp4"])
def test_frames_of_real_video_are_those_of_their_times(sample, name):
    path = sample(f"data/ego/{name}")
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.thread_type = "AUTO"
        truth = {float(frame.time): frame.to_ndarray() for frame in file.decode(stream)}
    random = np.random.default_rng(0)
    wanted = [*random.uniform(0, max(truth), 6), *random.choice(list(truth), 2)]
    with VideoFile(path) as video:
        for time_s in wanted:
            picture = video.at(time_s)
            assert picture.time_s == max(t for t in truth if t <= time_s)
            np.testing.assert_array_equal(picture.frame.to_ndarray(), truth[picture.time_s])


def test_a_clip_has_the_frame_in_the_middle_of_each_equal_segment(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    clip = decode_clip(path, 0.4, 2.0, frames=4, resolution=SIDE)
    assert clip.frames.shape == (4, SIDE, SIDE, 3)
    assert clip.frames.dtype == np.uint8
    # Middles of 0.4 to 0.8, to 1.2, to 1.6, to 2.0 s.
    assert [read_number(frame) for frame in clip.frames] == [6, 10, 14, 18]
    np.testing.assert_allclose(clip.times, [0.6, 1.0, 1.4, 1.8])


def test_random_times_lie_one_in_each_segment_and_come_from_the_generator():
    draws = np.stack([segment_times(2.0, 6.0, 4, np.random.default_rng(i)) for i in range(200)])
    assert ((draws >= [2, 3, 4, 5]) & (draws < [3, 4, 5, 6])).all()
    assert (draws.std(axis=0) > 0.25).all()
    again = segment_times(2.0, 6.0, 4, np.random.default_rng(0))
    np.testing.assert_array_equal(again, draws[0])


def test_overlapping_clips_are_decoded_once_and_in_any_order_the_same(tmp_path):
    path = write_video(tmp_path / "a.mp4", 60)
    spans = [Span(start / 4, start / 4 + 1.5) for start in range(18)]
    order = np.random.default_rng(0).permutation(len(spans))
    with VideoFile(path) as video:
        found = dict(decode_spans(video, [spans[i] for i in order], 4, SIDE))
        assert video.counts.frames <= 60
        assert video.counts.seeks == 0
    for place, number in enumerate(order):
        alone = decode_clip(path, spans[number].start_s, spans[number].end_s, resolution=SIDE)
        clip = found[place]
        assert isinstance(clip, DecodedClip)
        np.testing.assert_array_equal(clip.frames, alone.frames)
        np.testing.assert_array_equal(clip.times, alone.times)


@pytest.mark.parametrize("b_frames", [0, 3])
def test_a_clip_far_inside_reads_no_more_than_one_group_of_pictures_extra(tmp_path, b_frames):
    group = 25
    path = write_video(tmp_path / "a.mp4", 300, gop=group, b_frames=b_frames)
    for start_s in (7.4, 12.5, 17.49, 24.99):
        with VideoFile(path) as video:
            list(decode_spans(video, [Span(start_s, start_s + 1)], 4, SIDE))
            # 10 frames from first to last of the clip, and the decoder's own delay.
            assert video.counts.frames <= 10 + group
            assert video.counts.packets <= 10 + group + b_frames + 2


def test_what_lies_between_distant_clips_is_not_decoded(tmp_path):
    path = write_video(tmp_path / "a.mp4", 300, gop=25)
    spans = [Span(0, 1), Span(14, 15), Span(28, 29)]
    with VideoFile(path) as video:
        assert all(isinstance(c, DecodedClip) for _, c in decode_spans(video, spans, 4, SIDE))
        assert video.counts.frames < 3 * (10 + 25)
        assert video.counts.seeks == 2


def test_no_jump_to_a_key_frame_that_is_shown_only_after_what_is_wanted(tmp_path):
    # Reordered frames are decoded before they are shown: by its time of decoding the key frame at
    # 10 s seems to be there for a frame of 9.9 s already.
    path = write_video(tmp_path / "a.mp4", 300, gop=100, b_frames=3)
    with VideoFile(path) as video:
        for time_s in (0.05, 9.05, 9.85, 9.95):
            assert read_number(video.at(time_s).square(SIDE, VideoReformatter())) == int(
                10 * time_s
            )
        assert video.counts.seeks == 0
        assert video.counts.frames <= 102
        video.at(10.05)
        video.at(19.95)
        assert video.counts.frames <= 202


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_turned_recording_is_laid_upright(tmp_path, rotation):
    upright = number_frame(0x1234, 96, 64)
    recorded = np.ascontiguousarray(np.rot90(upright, -rotation // 90))
    path = write_video(tmp_path / "a.mp4", [recorded] * 3, rotation=rotation)
    with VideoFile(path) as video:
        picture = video.at(0.1)
        # PyAV and FFmpeg name the same turn by the angle against the clock.
        assert picture.frame.rotation % 360 == rotation
        assert picture.size == (96, 64)
    clip = decode_clip(path, 0, 0.3, resolution=SIDE)
    assert read_number(clip.frames[0]) == 0x1234
    # A part is one of the upright picture.
    corner = decode_clip(path, 0, 0.3, resolution=16, crop=(16 / 96, 0, 32 / 96, 0.25)).frames[0]
    assert (corner.mean() > 128) == bool(0x1234 & 1)


def test_a_mirrored_recording_is_mirrored_back(tmp_path):
    upright = number_frame(0x1234)
    path = write_video(tmp_path / "a.mp4", [upright[:, ::-1].copy()] * 3, mirrored=True)
    assert read_number(decode_clip(path, 0, 0.3, resolution=SIDE).frames[0]) == 0x1234


def test_display_matrices_stand_for_the_turns_that_ffmpeg_makes_of_them():
    image = np.arange(6).reshape(2, 3, 1)
    one = 1 << 16
    turned = {
        (one, 0, 0, 0, one, 0, 0, 0, 1 << 30): image,
        (0, one, 0, -one, 0, 0, 0, 0, 1 << 30): np.rot90(image, -1),
        (-one, 0, 0, 0, -one, 0, 0, 0, 1 << 30): np.rot90(image, 2),
        (0, -one, 0, one, 0, 0, 0, 0, 1 << 30): np.rot90(image, 1),
        (one, 0, 0, 0, -one, 0, 0, 0, 1 << 30): image[::-1],
    }
    for matrix, wanted in turned.items():
        np.testing.assert_array_equal(Orientation.of_matrix(np.array(matrix))(image), wanted)


def test_a_part_of_the_picture_is_cut_before_it_is_resized(tmp_path):
    wall = np.concatenate(
        [
            np.concatenate([number_frame(10 * row + column) for column in range(4)], axis=1)
            for row in range(4)
        ]
    )
    path = write_video(tmp_path / "wall.mp4", [wall] * 5)
    with open_video(path) as video:
        tiles = [(c / 4, r / 4, (c + 1) / 4, (r + 1) / 4) for r in range(4) for c in range(4)]
        spans = [Span(0, 0.5, crop) for crop in tiles]
        found = dict(decode_spans(video, spans, 2, SIDE))
    numbers = [read_number(found[i].frames[0]) for i in range(16)]
    assert numbers == [10 * row + column for row in range(4) for column in range(4)]
    with pytest.raises(ValueError, match="left, top, right and bottom"):
        check_crop([0.5, 0, 0.25, 1])


@pytest.mark.parametrize("form", ["yuv420p", "rgb24", "yuv422p10le"])
@pytest.mark.parametrize("size", [(480, 360), (641, 361), (360, 640), (1280, 720)])
@pytest.mark.parametrize("crop", [None, (0.5, 0.25, 1.0, 0.75)])
def test_squares_are_those_of_another_library(form, size, crop):
    width, height = size
    y, x = np.mgrid[:height, :width]
    image = np.stack([255 * x / width, 255 * y / height, 128 + 90 * np.sin(x / 40)], axis=2)
    frame = av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24")
    # Unnamed, a picture of 720 rows or more is BT.709, and a smaller one BT.601.
    matrix = 1 if height >= 720 else 5
    # One thread: where two meet, the scaler spoils a few pixels of what is to be read.
    frame = frame.reformat(format=form, dst_colorspace=matrix, threads=1)
    frame.colorspace = 2
    found = Picture(0.0, frame).square(112, VideoReformatter(), crop)
    left, top, right, bottom = (np.array(crop or (0, 0, 1, 1)) * (size * 2)).tolist()
    side = min(right - left, bottom - top)
    left, top = (left + right - side) / 2, (top + bottom - side) / 2
    whole = Image.fromarray(image.astype(np.uint8))
    box = (left, top, left + side, top + side)
    wanted = whole.resize((112, 112), Image.Resampling.BILINEAR, box)
    difference = found.astype(int) - np.asarray(wanted)
    # The scaler's defaults make pictures two levels too dark, and a wrong matrix shifts hues by 10.
    assert np.abs(difference.mean(axis=(0, 1))).max() < 1.3
    assert np.abs(difference).mean() < 2
    assert np.abs(difference).max() < 14


@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "yuv422p10le", "gray", "bgra", "gbrp"])
@pytest.mark.parametrize("size", [(320, 240), (161, 121), (64, 64)])
def test_planes_that_are_stacked_are_what_the_scaler_makes_of_pixels(form, size):
    noise = np.random.default_rng(0).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=form, threads=1)
    found = Picture(0.0, frame).square(64, VideoReformatter())
    columns = 64 + 2 * round((size[0] * 64 / size[1] - 64) / 2)
    wanted = VideoReformatter().reformat(
        frame, columns, 64, "rgb24", interpolation=_SCALER, threads=1
    )
    left = (columns - 64) // 2
    np.testing.assert_array_equal(found, wanted.to_ndarray()[:, left : left + 64])


def test_pixels_that_are_not_square_are_shown_as_wide_as_they_are(tmp_path):
    path = tmp_path / "a.mp4"
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 16:48] = 255
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"crf": "5"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio = Fraction(2, 1)
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())
    clip = decode_clip(path, 0, 0.3, frames=1, resolution=64)
    # Twice as wide as high, half of it is white: the square in the middle is all white.
    assert clip.frames[0, :, 2:-2].min() > 200


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_hdr_video_is_brought_to_ordinary_brightness(tmp_path, transfer):
    # ITU-R BT.2408: diffuse white is 203 cd/m2, a gray card of 18 % is 26 cd/m2.
    white, gray = (0.75, 0.38) if transfer == HLG else (0.58, 0.38)
    image = np.full((64, 64, 3), round(gray * 65_535), np.uint16)
    image[:, 32:] = round(white * 65_535)
    path = write_video(
        tmp_path / "hdr.mp4", [image] * 3, codec="libx265", pix_fmt="yuv420p10le",
        transfer=transfer,
    )  # fmt: skip
    found = decode_clip(path, 0, 0.3, frames=1, resolution=64).frames[0]
    light, dark = found[8:-8, 40:-8], found[8:-8, 8:24]
    assert np.ptp(light.reshape(-1, 3).mean(axis=0)) < 6
    assert 235 <= light.mean() <= 252
    # 26 / 203 on a display of gamma 2.4.
    assert abs(dark.mean() - 255 * (26 / 203) ** (1 / 2.4)) < 4
    plain = av.open(str(path))
    untouched = next(plain.decode(video=0)).to_ndarray(format="rgb24")
    plain.close()
    assert untouched[8:-8, 40:-8].mean() < 200


def test_tone_mapping_keeps_order_and_hue():
    levels = np.linspace(0, 65_535, 64).astype(np.uint16)
    for transfer in (PQ, HLG):
        grays = tone_map(np.repeat(levels[None, :, None], 3, axis=2), transfer)[0]
        assert (np.diff(grays[:, 0].astype(int)) >= 0).all()
        assert (np.ptp(grays.astype(int), axis=1) <= 1).all()
        assert grays[0, 0] == 0
        assert grays[-1, 0] == 255


def test_ten_bits_without_hdr_keep_their_colors(tmp_path):
    image = np.full((64, 64, 3), (200, 90, 40), np.uint8)
    path = write_video(tmp_path / "a.mp4", [image] * 3, codec="libx265", pix_fmt="yuv420p10le")
    found = decode_clip(path, 0, 0.3, frames=1, resolution=32).frames
    assert np.abs(found.astype(int) - (200, 90, 40)).max() <= 4


def test_a_folder_of_numbered_pictures_is_a_video(tmp_path):
    for number in (5, 6, 7, 9, 10, 11):
        Image.fromarray(number_frame(number)).save(tmp_path / f"frame_{number:06d}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    clip = decode_clip(tmp_path, 0, 0.7, frames=7, resolution=SIDE, fps=10)
    # Picture 8 is missing: 7 stays in view.
    assert [read_number(frame) for frame in clip.frames] == [5, 6, 7, 7, 9, 10, 11]
    np.testing.assert_allclose(clip.times, [0, 0.1, 0.2, 0.2, 0.4, 0.5, 0.6])
    with pytest.raises(ClipSpanError, match=r"within the video's 0\.700 s"):
        decode_clip(tmp_path, 1.0, 1.5, fps=10)
    (tmp_path / "frame_000009.png").write_bytes(b"broken")
    with pytest.raises(DamagedVideoError, match=r"frame_000009\.png"):
        decode_clip(tmp_path, 0.4, 0.5, fps=10)


def test_a_folder_without_pictures_is_no_video(tmp_path):
    with pytest.raises(UnreadableVideoError, match="end in a number"):
        open_video(tmp_path)


# -- what can be wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start_s", "end_s", "message"),
    [
        (1.0, 1.0, "some length, got one of none: 1 to 1 s"),
        (2.0, 1.0, "ends after its start, got 2 to 1 s"),
        (1.0, 8.1, r"within the video's 3\.000 s, or up to 5 s beyond, .* got 1 to 8\.1 s"),
        (3.0, 4.0, r"within the video's 3\.000 s, got 3 to 4 s: nothing of it is there"),
        (-5.1, 1.0, "starts at 0 s or later"),
        (-2.0, 0.0, "starts at 0 s or later"),
        (math.nan, 1.0, "in seconds"),
    ],
)
def test_a_span_that_is_none_is_named(tmp_path, start_s, end_s, message):
    path = write_video(tmp_path / "a.mp4")
    with pytest.raises(ClipSpanError, match=message):
        decode_clip(path, start_s, end_s)


def test_a_span_that_rounding_put_beyond_the_video_is_cut(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    clip = decode_clip(path, 2.0, 3.3, frames=4, resolution=SIDE)
    assert [read_number(frame) for frame in clip.frames] == [21, 23, 26, 28]
    assert decode_clip(path, 2.0, math.inf, resolution=SIDE).times[-1] == clip.times[-1]


@pytest.mark.parametrize(
    ("span", "inside", "cut_s"),
    [((2.0, 3.9), (2.0, 3.0), 0.9), ((2.5, 8.0), (2.5, 3.0), 5.0), ((-1.0, 1.0), (0.0, 1.0), 1.0)],
)
def test_a_clip_that_reaches_beyond_its_video_is_what_of_it_is_there(tmp_path, span, inside, cut_s):
    path = write_video(tmp_path / "a.mp4")
    found, expected = (decode_clip(path, *one, resolution=SIDE) for one in (span, inside))
    assert np.array_equal(found.times, expected.times)
    assert found.cut_s == pytest.approx(cut_s)
    assert expected.cut_s == 0


def test_an_mp4_cut_short_is_named(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", 60).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(TruncatedVideoError, match="index is missing"):
        decode_clip(cut, 0, 1)


def test_an_mp4_with_its_index_in_front_gives_what_is_there_and_names_what_is_not(tmp_path):
    whole = write_video(
        tmp_path / "whole.mp4", 200, container_options={"movflags": "faststart"}
    ).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 3 // 4])
    assert read_number(decode_clip(cut, 1, 2, frames=1, resolution=SIDE).frames[0]) == 15
    with pytest.raises(TruncatedVideoError, match=r"20\.000 s .* got frames until"):
        decode_clip(cut, 18, 19)


def test_damaged_bytes_cost_the_clips_that_show_them_and_no_others(tmp_path):
    random = np.random.default_rng(0)
    noise = random.integers(0, 60, (50, 64, 96, 3), dtype=np.uint8)
    frames = [number_frame(i) // 2 + noise[i] for i in range(50)]
    path = write_video(tmp_path / "a.mp4", frames, gop=10, b_frames=0)
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(video=0) if p.size]
    content = bytearray(path.read_bytes())
    hit = packets[22]
    start = hit.pos + hit.size // 4
    content[start : hit.pos + hit.size] = bytes(hit.pos + hit.size - start)
    path.write_bytes(content)
    with VideoFile(path) as video:
        found = dict(decode_spans(video, [Span(s, s + 1.0) for s in range(5)], 5, SIDE))
    assert isinstance(found[2], DamagedVideoError)
    assert all(isinstance(found[i], DecodedClip) for i in (0, 1, 3, 4))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, VideoNotFoundError, "there is nothing"),
        (b"", TruncatedVideoError, "empty file"),
        (b"not a video at all, but text", UnreadableVideoError, "cannot open"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, content, error, message):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=message) as raised:
        decode_clip(path, 0, 1)
    assert str(path) in str(raised.value)
    assert isinstance(raised.value, DecodingError)


def test_a_picture_that_cannot_be_converted_costs_its_clip(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4")

    def refuse(*arguments, **options):
        raise av.error.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr(Picture, "rectangle", refuse)
    with pytest.raises(UnreadableVideoError, match="yuv420p pictures that can be made RGB"):
        decode_clip(path, 0, 1)


def test_a_file_of_sound_alone_is_named(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16_000)
        samples = np.zeros((1, 3_200), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with pytest.raises(UnreadableVideoError, match="Expected a video in"):
        decode_clip(path, 0, 1)


def test_a_stream_without_times_is_named(tmp_path):
    path = write_video(tmp_path / "raw.h264", container="h264")
    with pytest.raises(UnreadableVideoError, match="ffmpeg -i raw.h264"):
        decode_clip(path, 0, 1)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"sampling": "middle"}, UnknownNameError),
        ({"frames": 0}, ConfigurationError),
        ({"threads": -1}, ConfigurationError),
    ],
)
def test_the_configuration_refuses_what_cannot_be(options, error):
    with pytest.raises(error):
        from_mapping(DecodingConfig, options)


def test_every_kind_of_video_reads_the_same(tmp_path):
    file = write_video(tmp_path / "a.mp4", 6)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(number_frame(number)).save(folder / f"{number}.png")
    openers: list[Callable[[], decoding.Video]] = [
        lambda: open_video(file),
        lambda: open_video(folder, fps=10),
    ]
    numbers = []
    for opener in openers:
        with opener() as video:
            (_, clip), *_ = decode_spans(video, [Span(0, 0.6)], 6, SIDE)
        assert isinstance(clip, DecodedClip)
        numbers.append([read_number(frame) for frame in clip.frames])
    assert numbers == [[0, 1, 2, 3, 4, 5]] * 2


@pytest.mark.parametrize(("aspect", "size"), [(2.0, (32, 64)), (0.5, (64, 32)), (1.0, (32, 32))])
@pytest.mark.parametrize("turned", [False, True])
def test_frames_of_another_aspect_keep_more_of_the_picture(aspect, size, turned):
    # Red grows from left to right and green from top to bottom of the upright picture.
    y, x = np.mgrid[:60, :120]
    upright = np.stack([2 * x, 4 * y, 0 * x], axis=2).astype(np.uint8)
    stored = np.ascontiguousarray(upright.swapaxes(0, 1)) if turned else upright
    frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
    picture = Picture(0.0, frame, Orientation(transpose=turned))
    assert frame_size(32, aspect) == size
    found = picture.rectangle(*size, VideoReformatter()).astype(int)
    assert found.shape == (*size, 3)
    shown = {2.0: (60, 120), 0.5: (60, 30), 1.0: (60, 60)}[aspect]
    for channel, axis, length, scale in ((0, 1, 120, 2), (1, 0, 60, 4)):
        line = found[..., channel].mean(axis=1 - axis)
        reach = (line[-1] - line[0]) / scale * size[axis] / (size[axis] - 1)
        assert reach == pytest.approx(shown[axis], abs=3)
        assert line.mean() / scale == pytest.approx((length - 1) / 2, abs=2)
