"""Something-Something: hands and objects seen by a camera that nobody wears, to train on besides.

Version 2 as published (Goyal et al., ICCV 2017, arXiv 1706.04261): a JSON list of videos, each of
one action, and a file a video.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.tables import AnnotationFileError, fill, read_json

LICENCE = "Something-Something research use"


class SomethingSomethingSource:
    """Whole videos with their labels.

    Args:
        annotations: ``something-something-v2-{train,validation}.json``, or a list of that form:
            objects with ``id``, ``label``, and what else is known.
        videos: folder of the videos.
        video: path of a video below it, a pattern of ``{id}``.
        name: of the data set.
        licence: under which the clips may be passed on.
    """

    kind = "something_something"

    def __init__(
        self,
        annotations: str,
        videos: str,
        video: str = "{id}.webm",
        name: str = "something_something",
        licence: str = LICENCE,
    ) -> None:
        self.name = name
        self.annotations = Path(annotations)
        self.videos = str(videos)
        self.video = video
        self.licence = licence

    def read(self) -> Iterator[ClipRequest | Failure]:
        """Every video in the list's order.

        Raises:
            AnnotationFileError: the list is missing, empty, or of another form.
        """
        content = read_json(self.annotations)
        if not isinstance(content, list) or not content:
            raise AnnotationFileError(
                f"Expected a list of videos in {self.annotations}, got "
                f"{'an empty one' if content == [] else type(content).__name__}."
            )
        for number, entry in enumerate(content):
            yield self._request(f"{self.annotations.name}[{number}]", entry)

    def _request(self, place: str, entry: Any) -> ClipRequest | Failure:
        if not isinstance(entry, dict) or not entry.get("id"):
            return Failure(place, "source", f"Expected an object with an id, got {entry!r}.")
        identity = str(entry["id"])
        label = str(entry.get("label") or "").strip()
        if not label:
            return Failure(identity, "source", f"{place}: Expected a label, got none.")
        return ClipRequest(
            key=identity,
            video=fill(f"{self.videos}/{self.video}", id=identity),
            start_s=0.0,
            end_s=math.inf,
            narration=label,
            scene=identity,
            source=self.name,
            licence=self.licence,
            extra={
                "perspective": "third person",
                **{name: entry[name] for name in ("template", "placeholders") if name in entry},
            },
        )
