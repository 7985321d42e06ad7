"""What adapters share: the request for a clip, the row that is none, and the interface."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class ClipRequest:
    """One annotated stretch of a video.

    Attributes:
        key: names the clip within its source; no two of a source are alike.
        video: file, or folder of numbered frames.
        start_s: where it begins, seconds from the video's start.
        end_s: where it ends.
        narration: what happens.
        scene: video, participant or place: clips that share it never lie in two splits.
        source: name of the data set.
        licence: under which it may be passed on.
        extra: other columns, as JSON can hold them.
    """

    key: str
    video: Path
    start_s: float
    end_s: float
    narration: str
    scene: str
    source: str
    licence: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A row or a clip that could not be prepared.

    Attributes:
        key: of the clip; for a row without one the file and its line.
        stage: ``source``, ``decode`` or a stage of :mod:`pretrain.annotate.stage`.
        reason: what was expected and what came.
    """

    key: str
    stage: str
    reason: str


class Source(Protocol):
    """A data set's annotations.

    Attributes:
        name: of the data set.
    """

    name: str

    def read(self) -> Iterator[ClipRequest | Failure]:
        """Every row in a fixed order, as a request or as the reason why it is none.

        Raises:
            AnnotationFileError: a file is missing, empty, or lacks a column.
        """
        ...
