"""H2O: two hands and eight objects, with depth.

Kwon et al., ICCV 2021 (arXiv 2104.11181). Lists and folders as in the data set's repository; the
head camera is ``cam4``, and its depth pictures show what its color pictures show.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.tables import Row, RowError, checked, fill, read_table

LICENCE = "H2O research use"

COLUMNS = ("id", "path", "start_act", "end_act", "start_frame", "end_frame")
"""Of ``action_{train,val,test}.txt``; those of training and validation also have
``action_label``."""

FPS = 30.0

_VERBS = {
    "grab": ("book", "espresso", "lotion", "spray", "milk", "cocoa", "chips", "cappuccino"),
    "place": ("book", "espresso", "lotion", "spray", "milk", "cocoa", "chips", "cappuccino"),
    "open": ("lotion", "milk", "chips"),
    "close": ("lotion", "milk", "chips"),
    "pour": ("milk",),
    "take out": ("espresso", "cocoa", "chips", "cappuccino"),
    "put in": ("espresso", "cocoa", "cappuccino"),
    "apply": ("lotion", "spray"),
    "read": ("book", "espresso"),
    "spray": ("spray",),
    "squeeze": ("lotion",),
}

ACTIONS = (
    "background",
    *(f"{verb} {noun}" for verb, nouns in _VERBS.items() for noun in nouns),
)
"""Names of the labels 0 to 36."""


class H2OSource:
    """Actions of H2O; frames are folders of pictures.

    The list of the test set names no actions. It is read all the same, with the narration
    "unlabeled", for depth and detection.

    Args:
        annotations: ``action_train.txt``, ``action_val.txt`` or ``action_test.txt``.
        videos: folder of the sequences.
        video: path of a sequence's color pictures below it, a pattern of ``{path}``.
        depth: path of its depth pictures, the same; None to leave depth alone.
    """

    kind = "h2o"

    name = "h2o"

    def __init__(
        self,
        annotations: str,
        videos: str,
        video: str = "{path}/cam4/rgb",
        depth: str | None = "{path}/cam4/depth",
    ) -> None:
        self.annotations = Path(annotations)
        self.videos = str(videos)
        self.video = video
        self.depth = depth

    def read(self) -> Iterator[ClipRequest | Failure]:
        """Every row in the list's order.

        Raises:
            AnnotationFileError: the list is missing, empty, or lacks a column.
        """
        for row in read_table(self.annotations, COLUMNS):
            try:
                request = self._request(row)
            except RowError as error:
                yield Failure(row.place, "source", str(error))
                continue
            yield checked(request, row.place)

    def _request(self, row: Row) -> ClipRequest:
        if row.problem is not None:
            raise RowError(row.problem)
        path = row.text("path")
        narration = "unlabelled"
        extra: dict[str, Any] = {"fps": FPS}
        if "action_label" in row.values:
            label = int(row.number("action_label"))
            if not 0 <= label < len(ACTIONS):
                raise RowError(f"Expected an action from 0 to {len(ACTIONS) - 1}, got {label}.")
            narration = ACTIONS[label]
            extra["action"] = label
        if self.depth is not None:
            extra["depth"] = {"folder": str(fill(f"{self.videos}/{self.depth}", path=path))}
        first = row.number("start_frame")
        return ClipRequest(
            key=f"{path}/{row.text('id')}",
            video=fill(f"{self.videos}/{self.video}", path=path),
            start_s=(row.number("start_act") - first) / FPS,
            # The last frame belongs to the action.
            end_s=(row.number("end_act") - first + 1) / FPS,
            narration=narration,
            scene=path.rpartition("/")[0] or path,
            source=self.name,
            licence=LICENCE,
            extra=extra,
        )
