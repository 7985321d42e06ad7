"""What decoding clips costs beside decoding alone, and what a jump into a video reads.

    python benchmarks/decoding.py VIDEO... [--repeats 5] [--threads 1]

Dense: clips of one second end to end, and overlapping by half, four frames of 224 px each, beside
PyAV's own loop over all frames of the same video, once with nothing else and once with its own
conversion to RGB of as many frames as the clips end to end have. All are timed in turns, so that
what else the machine does falls on all; processor time counts what wall time hides.

Sparse: single clips at random times, each with the video opened again: frames decoded beyond those
from the clip's first to its last, beside the length of the group of pictures that it begins in.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from pretrain.clips.spans import DecodedClip, Span, decode_spans
from pretrain.clips.video_file import VideoFile

CLIP_S = 1.0
FRAMES, RESOLUTION = 4, 224


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sparse", type=int, default=40, help="single clips a video")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {options.threads} decoder threads")
    for path in options.videos:
        dense(path, options.repeats, options.threads)
        sparse(path, options.sparse)


def dense(path: Path, repeats: int, threads: int) -> None:
    """Rates of PyAV's loop and of clips, and their ratios."""
    with VideoFile(path) as video:
        seconds = int(video.duration_s or 0)
        frames = sum(1 for _ in video.pictures())
        size = video.at(0).size
    end_to_end = [Span(s, s + CLIP_S) for s in range(seconds)]
    overlapping = [Span(s / 2, s / 2 + CLIP_S) for s in range(2 * seconds - 1)]
    runs: dict[str, Callable[[], object]] = {
        "PyAV": lambda: pyav(path, threads),
        "PyAV, RGB": lambda: pyav(path, threads, every=frames // (seconds * FRAMES)),
        "end to end": lambda: clips(path, end_to_end, threads),
        "overlapping": lambda: clips(path, overlapping, threads),
    }
    wall: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            began, used = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - used)
    alone = min(processor["PyAV"])
    print(
        f"{path.name}: {frames} frames of {size[0]} x {size[1]}, PyAV decodes {frames / alone:.0f} "
        f"frames/s and {frames / min(processor['PyAV, RGB']):.0f} with some made RGB"
    )
    for name, spans in (("end to end", end_to_end), ("overlapping", overlapping)):
        used_s = min(processor[name])
        print(
            f"  {name:<11} {alone / used_s:.2f} of PyAV's rate (wall "
            f"{min(wall['PyAV']) / min(wall[name]):.2f}), "
            f"{min(processor['PyAV, RGB']) / used_s:.2f} of that with RGB, "
            f"{len(spans) / used_s:.1f} clips/s"
        )


def pyav(path: Path, threads: int, every: int = 0) -> None:
    """Decode every frame and leave it, or make every n-th RGB with 224 rows."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO" if threads != 1 else "SLICE"
        for number, frame in enumerate(file.decode(stream)):
            if every and number % every == 0:
                width = round(frame.width * RESOLUTION / frame.height)
                frame.to_ndarray(format="rgb24", width=width, height=RESOLUTION)


def clips(path: Path, spans: list[Span], threads: int) -> None:
    """Decode clips in one pass."""
    with VideoFile(path, threads) as video:
        for _, clip in decode_spans(video, spans, FRAMES, RESOLUTION):
            assert isinstance(clip, DecodedClip)


def sparse(path: Path, count: int) -> None:
    """What single clips read beyond themselves."""
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(video=0) if p.pts is not None]
        base = packets[0].time_base
    times = np.sort([float(p.pts * base) for p in packets])
    keys = np.sort([float(p.pts * base) for p in packets if p.is_keyframe])
    ends = np.append(keys[1:], np.inf)
    random = np.random.default_rng(0)
    shares, frames, seeks = [], [], 0
    for start_s in random.uniform(0, times[-1] - CLIP_S, count):
        with VideoFile(path) as video:
            (_, clip), *_ = decode_spans(video, [Span(start_s, start_s + CLIP_S)], FRAMES, 64)
            assert isinstance(clip, DecodedClip)
            seeks += video.counts.seeks
            decoded = video.counts.frames
        within = int(((times >= clip.times[0]) & (times <= clip.times[-1])).sum())
        group = np.searchsorted(keys, clip.times[0], side="right") - 1
        length = int(((times >= keys[group]) & (times < ends[group])).sum())
        frames.append(decoded - within)
        shares.append((decoded - within) / length)
    print(
        f"  single clips: {np.mean(frames):.0f} frames extra, {np.mean(shares):.2f} of a group of "
        f"pictures (at most {max(shares):.2f}), {seeks} jumps for {count} clips"
    )


if __name__ == "__main__":
    main()
