"""EPIC-KITCHENS-100: narrated actions, and the test set of multi-instance retrieval.

Damen et al., IJCV 2022 (arXiv 2006.13256); tables as in epic-kitchens-100-annotations.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.tables import (
    AnnotationFileError,
    Row,
    RowError,
    checked,
    fill,
    read_table,
)

LICENCE = "CC-BY-NC-4.0"

COLUMNS = (
    "narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp", "narration",
    "verb", "verb_class", "noun", "noun_class", "all_nouns", "all_noun_classes",
)  # fmt: skip
"""Those that are read of ``EPIC_100_train.csv``, ``EPIC_100_validation.csv`` and the retrieval's
``EPIC_100_retrieval_{train,test}.csv``."""


class EpicKitchensSource:
    """Actions of EPIC-KITCHENS-100.

    Args:
        annotations: one of its tables.
        videos: folder of the videos.
        video: path of a video below it, a pattern of ``{participant_id}`` and ``{video_id}``; a
            file, a folder of pieces, or of frames (``{participant_id}/rgb_frames/{video_id}``).
        sentences: table of the retrieval's sentences; each clip then has the number of its own in
            ``extra["sentence"]``, the column of the published relevancy matrix.
        video_info: ``EPIC_100_video_info.csv``; frames a second of folders of frames.
    """

    kind = "epic_kitchens"

    name = "epic_kitchens"

    def __init__(
        self,
        annotations: str,
        videos: str,
        video: str = "{participant_id}/videos/{video_id}.MP4",
        sentences: str | None = None,
        video_info: str | None = None,
    ) -> None:
        self.annotations = Path(annotations)
        self.videos = str(videos)
        self.video = video
        self.sentences = None if sentences is None else Path(sentences)
        self.video_info = None if video_info is None else Path(video_info)

    def read(self) -> Iterator[ClipRequest | Failure]:
        """Every row in the table's order.

        Raises:
            AnnotationFileError: a table is missing, empty, lacks a column, or lacks a sentence.
        """
        sentences = None if self.sentences is None else read_sentences(self.sentences)
        rates = {}
        if self.video_info is not None:
            for row in read_table(self.video_info, ("video_id", "fps")):
                rates[row.text("video_id")] = row.number("fps")
        for row in read_table(self.annotations, COLUMNS):
            try:
                request = self._request(row)
            except RowError as error:
                yield Failure(row.place, "source", str(error))
                continue
            video_id = request.extra["video_id"]
            if video_id in rates:
                request.extra["fps"] = rates[video_id]
            if sentences is not None:
                if request.narration not in sentences:
                    raise AnnotationFileError(
                        f"Expected the narration {request.narration!r} of {row.place} among the "
                        f"sentences of {self.sentences}, which lacks it: the files are of "
                        "different sets. Name the sentences that were published with the table."
                    )
                request.extra["sentence"] = sentences[request.narration]
            yield checked(request, row.place)

    def _request(self, row: Row) -> ClipRequest:
        if row.problem is not None:
            raise RowError(row.problem)
        participant, video_id = row.text("participant_id"), row.text("video_id")
        return ClipRequest(
            key=row.text("narration_id"),
            video=fill(
                f"{self.videos}/{self.video}", participant_id=participant, video_id=video_id
            ),
            start_s=row.clock("start_timestamp"),
            end_s=row.clock("stop_timestamp"),
            narration=row.text("narration"),
            # Each participant recorded in their own kitchen.
            scene=participant,
            source=self.name,
            licence=LICENCE,
            extra={
                "video_id": video_id,
                "verb": row.text("verb"),
                "verb_class": int(row.number("verb_class")),
                "noun": row.text("noun"),
                "noun_class": int(row.number("noun_class")),
                "all_nouns": _list(row, "all_nouns"),
                "all_noun_classes": _list(row, "all_noun_classes"),
            },
        )


def read_sentences(path: str | Path) -> dict[str, int]:
    """Numbers of the retrieval's sentences, from 0, by their text.

    A few sentences stand in the table more than once; the first counts.

    Raises:
        AnnotationFileError: the table is missing, empty, or lacks a column.
    """
    found: dict[str, int] = {}
    for number, row in enumerate(read_table(path, ("narration_id", "narration"))):
        found.setdefault(row.values.get("narration", "").strip(), number)
    return found


def _list(row: Row, column: str) -> list[str | int]:
    text = row.text(column)
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        found = None
    if not isinstance(found, list):
        raise RowError(f"Expected a list such as ['tap'] in column {column}, got {text!r}.")
    return found
