"""Requests into clips with frames: the first step of the data engine.

Some keys of :attr:`ClipRequest.extra` steer decoding:

=========  ========================================================================================
``crop``   left, top, right and bottom of the part of the picture to take, as shares from 0 to 1
``fps``    of a folder of pictures
``depth``  arguments of :class:`DepthFrames` beside a folder of pictures; for a stored clip,
           anything: its own depth
``row``    number of the clip where the video is a clip store
=========  ========================================================================================

A clip that reaches beyond its video and was cut to it has ``cut_s`` in its ``extra``: the seconds
that are missing.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from egodtm_robot.core.errors import EgoDTMRobotError
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.clip_randomness import clip_generator
from pretrain.clips.decoded_frame import check_crop
from pretrain.clips.depth_frames import DepthFrames
from pretrain.clips.frame_folder import FrameFolder
from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.spans import (
    DecodedClip,
    DecodingConfig,
    Span,
    Video,
    decode_spans,
    frame_size,
    open_video,
)
from pretrain.clips.store import ClipStore
from pretrain.clips.stored_clip import StoredClip
from pretrain.clips.video_file import DecodingError, UnreadableVideoError


def decode_requests(
    requests: Iterable[ClipRequest], config: DecodingConfig
) -> Iterator[AnnotatedClip | Failure]:
    """Decode clips; a broken or missing video costs its own clips and no others.

    Requests of one video share its decoding, so they are best given together, see
    :func:`group_by_video`. A clip's frames do not depend on what else is asked for.

    Args:
        requests: in any order.
        config: what frames are like.

    Yields:
        For each request its clip, or why there is none. Videos come in the order in which they are
        first named; the clips of a video by their last frames.
    """
    videos: dict[tuple[Path, object], list[ClipRequest]] = {}
    for request in requests:
        videos.setdefault(_video_key(request), []).append(request)
    for group in videos.values():
        yield from _decode_video(group, config)


def group_by_video(
    requests: Iterable[ClipRequest], clips_a_group: int | None = None
) -> Iterator[list[ClipRequest]]:
    """Units of work that share decoding: requests of one video, in the order of time.

    Args:
        requests: of a source; they are all held in memory.
        clips_a_group: most of a unit; None does not split a video's.

    Yields:
        Requests of one video, videos in the order in which they are first named.
    """
    videos: dict[Path, list[ClipRequest]] = {}
    for request in requests:
        videos.setdefault(request.video, []).append(request)
    for group in videos.values():
        group.sort(key=lambda request: (request.start_s, request.end_s))
        size = clips_a_group or len(group)
        for start in range(0, len(group), size):
            yield group[start : start + size]


def _video_key(request: ClipRequest) -> tuple[Path, object]:
    return request.video, (request.extra.get("row"), request.extra.get("fps"))


def _decode_video(
    requests: Sequence[ClipRequest], config: DecodingConfig
) -> Iterator[AnnotatedClip | Failure]:
    """Clips of requests that name the same video."""
    spans, kept = [], []
    for request in requests:
        crop = request.extra.get("crop")
        try:
            shares = None if crop is None else check_crop(crop)
        except ValueError as error:
            yield Failure(request.key, "decode", str(error))
            continue
        random = clip_generator(config.seed, request.key) if config.sampling == "random" else None
        spans.append(Span(request.start_s, request.end_s, shares, random))
        kept.append(request)
    left = set(range(len(kept)))
    try:
        with _open(requests[0], config) as video:
            for number, found in decode_spans(
                video, spans, config.frames, config.resolution, config.aspect
            ):
                left.discard(number)
                if isinstance(found, DecodingError):
                    yield Failure(kept[number].key, "decode", str(found))
                else:
                    yield _with_depth(_annotated(kept[number], found), kept[number], video, config)
    except (EgoDTMRobotError, av.error.FFmpegError, OSError) as error:
        for number in sorted(left):
            yield Failure(kept[number].key, "decode", str(error))


def _open(request: ClipRequest, config: DecodingConfig) -> Video:
    row = request.extra.get("row")
    if row is None:
        return open_video(request.video, threads=config.threads, fps=request.extra.get("fps"))
    store = ClipStore.open(request.video)
    if not 0 <= row < len(store):
        raise UnreadableVideoError(
            f"Expected a row from 0 to {len(store) - 1} of {request.video}, got {row}."
        )
    fields = ["frames", *(["depth", "depth_kind"] if "depth" in request.extra else [])]
    return StoredClip(**{name: found[0] for name, found in store.read([row], fields).items()})


def _annotated(request: ClipRequest, clip: DecodedClip) -> AnnotatedClip:
    extra = {name: value for name, value in request.extra.items() if name != "depth"}
    if clip.cut_s:
        extra["cut_s"] = round(clip.cut_s, 3)
    return AnnotatedClip(
        key=request.key,
        frames=clip.frames,
        times=clip.times,
        narration=request.narration,
        scene=request.scene,
        source=request.source,
        licence=request.licence,
        extra=extra,
    )


def _with_depth(
    clip: AnnotatedClip, request: ClipRequest, video: Video, config: DecodingConfig
) -> AnnotatedClip | Failure:
    """The clip with the depth that its source brings along, if it does."""
    given = request.extra.get("depth")
    if given is None:
        return clip
    if isinstance(video, StoredClip):
        if config.aspect != 1:
            return Failure(
                request.key,
                "decode",
                "Expected decoding.aspect=1 for stored clips whose depth comes along, got "
                f"{config.aspect}: their maps show all of a frame. Leave the depth alone "
                "(source.depth=false), or keep squares.",
            )
        if video.depth is not None:
            clip.depth = video.depth[clip.times.astype(int)]
            clip.depth_kind = video.depth_kind
        return clip
    if not isinstance(video, FrameFolder):
        return Failure(
            request.key,
            "decode",
            f"Expected a folder of numbered pictures beside depth pictures, got {request.video}.",
        )
    try:
        sensor = DepthFrames(**given)
        form = clip.frames.shape[1], clip.frames.shape[2]
        grid = frame_size(config.depth_size, config.aspect)
        maps = []
        for time_s in clip.times:
            number = video.numbers[video.place(time_s)]
            with Image.open(video.numbered[number]) as image:
                size = image.size
            crop = request.extra.get("crop")
            maps.append(sensor.map(number, size, crop and tuple(crop), grid, form))
    except (EgoDTMRobotError, OSError) as error:
        return Failure(request.key, "decode", str(error))
    clip.depth, clip.depth_kind = np.stack(maps), "metric"
    return clip
