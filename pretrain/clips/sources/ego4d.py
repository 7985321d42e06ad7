"""Ego4D: the EgoClip table of narrated clips, and natural language queries.

EgoClip (Lin et al., NeurIPS 2022, arXiv 2206.01670) gives each of 3.8 M narrations of Ego4D
(Grauman et al., CVPR 2022, arXiv 2110.07058) the stretch of video that it is about.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.tables import (
    AnnotationFileError,
    Row,
    RowError,
    checked,
    fill,
    read_json,
    read_table,
)

LICENCE = "Ego4D License"
"""Under which Ego4D's videos and annotations are given out; it has to be signed."""

EGOCLIP_COLUMNS = (
    "video_uid", "video_dur", "narration_source", "narration_ind", "narration_time", "clip_start",
    "clip_end", "clip_text", "tag_verb", "tag_noun",
)  # fmt: skip
"""As published; the file has a further column ``clip_idx`` or an unnamed one before them."""


class EgoClipSource:
    """Narrated clips of Ego4D from ``egoclip.csv``, which has tabs between its columns.

    Args:
        annotations: the table.
        videos: folder of the videos.
        video: path of a video below it, a pattern of ``{video_uid}``; a file, or a folder of the
            pieces that rechunking or others' scripts cut it into (``0.mp4``, ``300.mp4``, ...).
        tagged_only: leave out narrations without a tagged verb or noun.
    """

    kind = "egoclip"

    name = "ego4d"

    def __init__(
        self,
        annotations: str,
        videos: str,
        video: str = "{video_uid}.mp4",
        tagged_only: bool = False,
    ) -> None:
        self.annotations = Path(annotations)
        self.videos = str(videos)
        self.video = video
        self.tagged_only = tagged_only

    def read(self) -> Iterator[ClipRequest | Failure]:
        """Every row in the table's order.

        Raises:
            AnnotationFileError: the table is missing, empty, or lacks a column.
        """
        for row in read_table(self.annotations, EGOCLIP_COLUMNS):
            try:
                request = self._request(row)
            except RowError as error:
                yield Failure(row.place, "source", str(error))
                continue
            if not self.tagged_only or (request.extra["tag_verb"] and request.extra["tag_noun"]):
                yield checked(request, row.place)

    def _request(self, row: Row) -> ClipRequest:
        if row.problem is not None:
            raise RowError(row.problem)
        uid = row.text("video_uid")
        narrator, number = row.text("narration_source"), row.text("narration_ind")
        return ClipRequest(
            key=f"{uid}/{narrator}/{number}",
            video=fill(f"{self.videos}/{self.video}", video_uid=uid),
            start_s=row.number("clip_start"),
            end_s=row.number("clip_end"),
            narration=row.text("clip_text"),
            scene=uid,
            source=self.name,
            licence=LICENCE,
            extra={
                "narration_time": row.number("narration_time"),
                "tag_verb": _indices(row, "tag_verb"),
                "tag_noun": _indices(row, "tag_noun"),
            },
        )


class Ego4DQueriesSource:
    """Natural language queries (``nlq_train.json``, ``nlq_val.json``) with the answer's stretch.

    Args:
        annotations: the JSON file.
        videos: folder of the videos.
        video: path of a video below it: a pattern of ``{video_uid}`` for whole videos, or of
            ``{clip_uid}`` for the clips of 8 minutes that the benchmark cuts out of them. Times are
            those of the one that the pattern names.
    """

    kind = "ego4d_nlq"

    name = "ego4d_nlq"

    def __init__(self, annotations: str, videos: str, video: str = "{video_uid}.mp4") -> None:
        self.annotations = Path(annotations)
        self.videos = str(videos)
        self.video = video
        self._clock = "clip" if "{clip_uid}" in video else "video"

    def read(self) -> Iterator[ClipRequest | Failure]:
        """Every query in the file's order.

        Raises:
            AnnotationFileError: the file is missing or of another form.
        """
        content = read_json(self.annotations)
        try:
            clips = [(video, clip) for video in content["videos"] for clip in video["clips"]]
        except (KeyError, TypeError) as error:
            raise AnnotationFileError(
                f"Expected videos with clips in {self.annotations}, as Ego4D publishes its "
                f"queries, got something else ({error!r})."
            ) from error
        if not clips:
            raise AnnotationFileError(f"Expected queries in {self.annotations}, got no clip.")
        for video, clip in clips:
            for annotation in clip.get("annotations", []):
                for number, query in enumerate(annotation.get("language_queries", [])):
                    uids = (clip["clip_uid"], annotation.get("annotation_uid", "annotation"))
                    yield self._request("/".join((*uids, str(number))), video, clip, query)

    def _request(
        self, key: str, video: dict[str, Any], clip: dict[str, Any], query: dict[str, Any]
    ) -> ClipRequest | Failure:
        try:
            start_s = float(query[f"{self._clock}_start_sec"])
            end_s = float(query[f"{self._clock}_end_sec"])
            question = (query["query"] or "").strip()
            uids = {"video_uid": str(video["video_uid"]), "clip_uid": str(clip["clip_uid"])}
        except (KeyError, TypeError, ValueError) as error:
            reason = f"Expected a query with start and end in seconds, got none ({error!r})."
            return Failure(key, "source", reason)
        if not question:
            return Failure(key, "source", "Expected the text of a query, got nothing.")
        request = ClipRequest(
            key=key,
            video=fill(f"{self.videos}/{self.video}", **uids),
            start_s=start_s,
            end_s=end_s,
            narration=question,
            scene=uids["video_uid"],
            source=self.name,
            licence=LICENCE,
            extra={
                "template": query.get("template"),
                "clip_uid": uids["clip_uid"],
                "clip_s": [clip.get("video_start_sec"), clip.get("video_end_sec")],
            },
        )
        return checked(request, key)


def _indices(row: Row, column: str) -> list[int]:
    """The whole numbers of a list such as ``[192, 115, 12]``; none where nothing is tagged."""
    inside = row.values.get(column, "").strip().strip("[]")
    try:
        return [int(part) for part in inside.split(",") if part.strip()]
    except ValueError:
        raise RowError(
            f"Expected a list such as [192, 115] in column {column}, got {inside!r}."
        ) from None
