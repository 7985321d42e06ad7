import csv
import os
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from egodtm_robot.core.errors import ConfigurationError, DiskSpaceError, ResumeMismatchError
from pretrain import rechunk as command
from pretrain.clips import rechunk as module
from pretrain.clips.rechunk import RechunkConfig, RechunkError, rechunk, rechunk_video
from pretrain.clips.spans import Span, decode_clip, decode_spans, open_video
from pretrain.clips.video_file import VideoFile
from pretrain.clips.video_pieces import VideoPieces

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_videos import SIDE, read_number, write_video

CONFIG = RechunkConfig(seconds=2, short_side=64, crf=12)

UNEVEN = [0.0, 0.31, 0.5, 1.1, 1.95, 2.05, 2.4, 3.2, 3.9, 4.7, 5.1, 5.2, 6.3, 6.6]


@pytest.mark.parametrize("times", [None, UNEVEN, [0.3 + 1001 * n / 30_000 for n in range(200)]])
def test_clips_of_pieces_show_the_frames_of_the_video(tmp_path, times):
    count = 70 if times is None else len(times)
    video = write_video(tmp_path / "a.mp4", count, times=times, b_frames=0)
    pieces = tmp_path / "pieces" / "a.mp4"
    assert rechunk_video(video, pieces, CONFIG) == 4
    spans = [Span(start / 3, start / 3 + 0.9) for start in range(17)]
    with open_video(pieces) as reader:
        assert isinstance(reader, VideoPieces)
        found = dict(decode_spans(reader, spans, 4, SIDE))
    with open_video(video) as reader:
        wanted = dict(decode_spans(reader, spans, 4, SIDE))
    for number in range(len(spans)):
        numbers = [read_number(frame) for frame in found[number].frames]
        assert numbers == [read_number(frame) for frame in wanted[number].frames]
        np.testing.assert_allclose(found[number].times, wanted[number].times, atol=1e-9)


def test_pieces_are_small_upright_and_have_a_key_frame_a_second(tmp_path):
    video = write_video(tmp_path / "a.mp4", 45, rotation=90)
    rechunk_video(video, tmp_path / "p", RechunkConfig(seconds=3, short_side=48))
    files = sorted((tmp_path / "p").iterdir())
    assert [file.name for file in files] == ["0.mp4", "3.mp4"]
    with av.open(str(files[0])) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height) == (48, 72)
        packets = [packet for packet in file.demux(stream) if packet.size]
    keys = [float(p.pts * p.time_base) for p in packets if p.is_keyframe]
    assert keys == [0, 1, 2]
    assert len(packets) == 30


def test_small_pictures_are_not_made_larger(tmp_path):
    video = write_video(tmp_path / "a.mp4", 3)
    rechunk_video(video, tmp_path / "p", RechunkConfig())
    with VideoFile(tmp_path / "p" / "0.mp4") as piece:
        assert piece.at(0).size == (96, 64)


def test_an_interrupted_video_goes_on_behind_its_last_whole_piece(tmp_path, monkeypatch):
    video = write_video(tmp_path / "a.mp4", 70)
    rechunk_video(video, tmp_path / "whole", CONFIG)
    write_piece = module._write_piece
    written = []

    def killed_at_the_third(path, *arguments):
        written.append(path.name)
        if len(written) == 3:
            path.with_name(path.name + ".unfinished").write_bytes(b"half")
            raise KeyboardInterrupt
        write_piece(path, *arguments)

    monkeypatch.setattr(module, "_write_piece", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        rechunk_video(video, tmp_path / "again", CONFIG)
    assert not (tmp_path / "again").exists()
    rechunk_video(video, tmp_path / "again", CONFIG)
    assert written == ["0.mp4", "2.mp4", "4.mp4", "4.mp4", "6.mp4"]
    names = sorted(os.listdir(tmp_path / "whole"))
    assert sorted(os.listdir(tmp_path / "again")) == names
    for name in names:
        same = [(tmp_path / folder / name).read_bytes() for folder in ("whole", "again")]
        assert same[0] == same[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_video_is_listed_and_the_others_are_cut(tmp_path, workers):
    videos, out = tmp_path / "videos", tmp_path / "videos" / "pieces"
    (videos / "P01").mkdir(parents=True)
    write_video(videos / "P01" / "good.MP4", 30, container="mp4")
    (videos / "bad.mp4").write_bytes(b"no video")
    (videos / "notes.txt").write_text("x")
    reports = []
    failures = rechunk(videos, out, CONFIG, workers, lambda *r: reports.append(r))
    assert list(failures) == ["bad.mp4"]
    assert reports[0] == (0, 2)
    assert reports[-1] == (2, 2)
    with (out / "failures.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["video"] == "bad.mp4"
    assert "cannot open" in row["reason"]
    clip = decode_clip(out / "P01" / "good.MP4", 0, 3, frames=3, resolution=SIDE)
    assert [read_number(frame) for frame in clip.frames] == [5, 15, 25]
    # A second run leaves what is there and finds no videos among the pieces.
    before = (out / "P01" / "good.MP4" / "0.mp4").stat().st_mtime_ns
    assert list(rechunk(videos, out, CONFIG, 0)) == ["bad.mp4"]
    assert (out / "P01" / "good.MP4" / "0.mp4").stat().st_mtime_ns == before


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    video = write_video(tmp_path / "a.mp4", 3)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write_piece", full)
    with pytest.raises(DiskSpaceError, match="Make room and run the same command again"):
        rechunk_video(video, tmp_path / "p", CONFIG)


def test_a_folder_without_videos_is_named(tmp_path):
    with pytest.raises(RechunkError, match="Expected videos"):
        rechunk(tmp_path, tmp_path / "out", CONFIG)
    with pytest.raises(ConfigurationError, match="crf"):
        RechunkConfig(crf=60)


def test_the_command_cuts_and_refuses_to_mix_settings(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", 15)
    arguments = [f"videos={tmp_path / 'videos'}", f"out={tmp_path / 'out'}", "workers=0"]
    command.main(arguments)
    assert "0 videos failed" in capsys.readouterr().out
    assert (tmp_path / "out" / "a.mp4" / "0.mp4").is_file()
    with pytest.raises(SystemExit):
        command.main([*arguments, "pieces.short_side=96"])
    assert ResumeMismatchError.__doc__
    assert "other settings" in capsys.readouterr().err
