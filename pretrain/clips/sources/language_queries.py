"""Ego4D's natural language queries about long clips, and the windows that such clips are seen by.

Grauman et al., CVPR 2022 (arXiv 2110.07058): where in eight minutes is the answer to a question?
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.ego4d import LICENCE
from pretrain.clips.sources.tables import AnnotationFileError, checked, fill, read_json
from pretrain.clips.spans import OVERHANG_S


@dataclass(frozen=True)
class LanguageQuery:
    """A question about a long clip.

    Attributes:
        clip_uid: the clip.
        video_uid: the video that it was cut from.
        annotation_uid: with ``query_idx`` it names the question in results of the challenge.
        query_idx: its place in the annotation, from 0.
        text: the question.
        start_s: where the answer begins, seconds from the clip's start. Some published answers have
            no length; the challenge counts them.
        end_s: where it ends.
    """

    clip_uid: str
    video_uid: str
    annotation_uid: str
    query_idx: int
    text: str
    start_s: float
    end_s: float


class Ego4DWindowsSource:
    """Consecutive windows of all clips that queries are about.

    Args:
        annotations: ``nlq_train.json`` or ``nlq_val.json``.
        videos: folder of the videos.
        video: path of a video below it: a pattern of ``{video_uid}`` for whole videos, or of
            ``{clip_uid}`` for the clips that the benchmark cuts out of them.
        seconds: length of a window; the last one of a clip may be shorter.
    """

    kind = "ego4d_windows"

    name = "ego4d_windows"

    def __init__(
        self, annotations: str, videos: str, video: str = "{video_uid}.mp4", seconds: float = 2.0
    ) -> None:
        if not seconds > 0:
            raise AnnotationFileError(f"Expected source.seconds above 0, got {seconds}.")
        self.annotations = Path(annotations)
        self.videos = str(videos)
        self.video = video
        self.seconds = seconds

    def read(self) -> Iterator[ClipRequest | Failure]:
        """Every window, in the order of clips and times.

        Raises:
            AnnotationFileError: the file is missing or of another form.
        """
        whole = "{clip_uid}" not in self.video
        for video, clip in _clips(self.annotations):
            try:
                uids = {"video_uid": str(video["video_uid"]), "clip_uid": str(clip["clip_uid"])}
                start_s, end_s = (float(clip[f"video_{end}_sec"]) for end in ("start", "end"))
            except (KeyError, TypeError, ValueError) as error:
                reason = f"Expected a clip with its start and end in the video, got {error!r}."
                yield Failure(str(clip.get("clip_uid", "clip")), "source", reason)
                continue
            path = fill(f"{self.videos}/{self.video}", **uids)
            length = end_s - start_s
            for number in range(math.ceil(length / self.seconds - 1e-6)):
                first = number * self.seconds
                last = min(first + self.seconds, length)
                offset = start_s if whole else 0.0
                key = f"{uids['clip_uid']}/{number:05d}"
                request = ClipRequest(
                    key=key,
                    video=path,
                    start_s=offset + first,
                    end_s=offset + last,
                    narration=f"window {number} of {uids['clip_uid']}",
                    scene=uids["video_uid"],
                    source=self.name,
                    licence=LICENCE,
                    extra={**uids, "window_s": [first, last], "clip_length_s": length},
                )
                yield checked(request, key)


def read_language_queries(path: str | Path) -> list[LanguageQuery]:
    """All queries with a text and an answer, in the file's order.

    Raises:
        AnnotationFileError: the file is missing, of another form, has an answer that is no span of
            its clip, or has no such query, as the published test file, whose answers are kept back.
    """
    found = []
    for video, clip in _clips(Path(path)):
        for annotation in clip.get("annotations", []):
            for number, query in enumerate(annotation.get("language_queries", [])):
                text = (query.get("query") or "").strip()
                if not text or "clip_start_sec" not in query or "clip_end_sec" not in query:
                    continue
                start_s, end_s = _answer(query, clip, path)
                found.append(
                    LanguageQuery(
                        clip_uid=str(clip.get("clip_uid")),
                        video_uid=str(video.get("video_uid")),
                        annotation_uid=str(annotation.get("annotation_uid")),
                        query_idx=number,
                        text=text,
                        start_s=start_s,
                        end_s=end_s,
                    )
                )
    if not found:
        raise AnnotationFileError(
            f"Expected queries with answers (clip_start_sec, clip_end_sec) in {path}, got none. "
            "Take nlq_train.json or nlq_val.json; the answers of the test file are kept back."
        )
    return found


def _answer(
    query: Mapping[str, Any], clip: Mapping[str, Any], path: str | Path
) -> tuple[float, float]:
    """Start and end of a query's answer, seconds from the clip's start."""
    given = query["clip_start_sec"], query["clip_end_sec"]
    try:
        start_s, end_s = map(float, given)
        length_s = float(clip["video_end_sec"]) - float(clip["video_start_sec"])
    except (KeyError, TypeError, ValueError):
        start_s = end_s = length_s = math.nan
    # Published answers reach up to 0.6 s beyond their clip. NaN is in no order.
    if not 0 <= start_s <= end_s <= length_s + OVERHANG_S:
        raise AnnotationFileError(
            f"Expected an answer within its clip in {path}, got {given[0]} to {given[1]} s of "
            f"{clip.get('clip_uid')}, which lasts {length_s:.3f} s (query {query['query']!r})."
        )
    return start_s, end_s


def _clips(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    content = read_json(path)
    try:
        clips = [(video, dict(clip)) for video in content["videos"] for clip in video["clips"]]
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationFileError(
            f"Expected videos with clips in {path}, as Ego4D publishes its queries, got something "
            f"else ({error!r})."
        ) from error
    yield from clips
