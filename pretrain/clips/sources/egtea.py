"""EGTEA Gaze+: actions of cooking.

Li, Liu and Rehg, ECCV 2018 (arXiv 2006.00626). Two forms of its splits are read: the official
``train_split1.txt`` and the tables of RULSTM (Furnari and Farinella, ICCV 2019), whose frame
numbers count 30 a second though the videos have 24.
"""

import math
import re
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

LICENCE = "EGTEA Gaze+ research use"

RULSTM_COLUMNS = ("id", "video", "start_frame", "end_frame", "verb", "noun", "action")
"""Of ``training1.csv`` and ``validation1.csv``, which do not name them."""

RULSTM_FPS = 30.0
"""What the frame numbers of RULSTM's tables count."""

_CLIP_NAME = re.compile(r"(?P<video>.+)-(?P<start>\d+)-(?P<end>\d+)-F\d+-F\d+")


class EgteaSource:
    """Actions of EGTEA Gaze+.

    Args:
        annotations: ``training1.csv`` of RULSTM or ``train_split1.txt`` as published; which one
            shows from its lines.
        actions: names of the actions: ``actions.csv`` of RULSTM, numbered from 0, or
            ``action_idx.txt`` as published, numbered from 1.
        videos: folder of the videos.
        video: path of a video below it, a pattern of ``{video}`` for whole videos, or of
            ``{video}`` and ``{clip}`` for the clips of the official list.
    """

    kind = "egtea"

    name = "egtea"

    def __init__(
        self, annotations: str, actions: str, videos: str, video: str = "{video}.mp4"
    ) -> None:
        self.annotations = Path(annotations)
        self.actions = Path(actions)
        self.videos = str(videos)
        self.video = video

    def read(self) -> Iterator[ClipRequest | Failure]:
        """Every row in the list's order.

        Raises:
            AnnotationFileError: a file is missing, empty, or of another form.
        """
        names = read_actions(self.actions)
        official = self.annotations.suffix == ".txt"
        if "{clip}" in self.video and not official:
            raise AnnotationFileError(
                f"Expected the official list (train_split1.txt) for videos {self.video!r}, got "
                f"{self.annotations}, which does not name the clips. Give a pattern of {{video}}."
            )
        header = ("clip", "action", "verb", "noun", *(f"noun{n}" for n in range(2, 9)))
        columns = header if official else RULSTM_COLUMNS
        delimiter = " " if official else ","
        for row in read_table(self.annotations, columns, header=False, delimiter=delimiter):
            try:
                request = self._official(row, names) if official else self._rulstm(row, names)
            except RowError as error:
                yield Failure(row.place, "source", str(error))
                continue
            yield checked(request, row.place)

    def _rulstm(self, row: Row, names: dict[int, str]) -> ClipRequest:
        video = row.text("video")
        return self._request(
            key=f"{video}/{row.text('id')}",
            video=video,
            clip="",
            start_s=row.number("start_frame") / RULSTM_FPS,
            end_s=row.number("end_frame") / RULSTM_FPS,
            action=int(row.number("action")),
            names=names,
        )

    def _official(self, row: Row, names: dict[int, str]) -> ClipRequest:
        clip = row.text("clip")
        match = _CLIP_NAME.fullmatch(clip)
        if match is None:
            raise RowError(
                "Expected a clip named by video, milliseconds and frames, such as "
                f"OP01-R01-PastaSalad-1002316-1004005-F024051-F024101, got {clip!r}."
            )
        whole = "{clip}" not in self.video
        return self._request(
            key=clip,
            video=match["video"],
            clip=clip,
            start_s=int(match["start"]) / 1000 if whole else 0.0,
            end_s=int(match["end"]) / 1000 if whole else math.inf,
            action=int(row.number("action")) - 1,
            names=names,
        )

    def _request(
        self,
        key: str,
        video: str,
        clip: str,
        start_s: float,
        end_s: float,
        action: int,
        names: dict[int, str],
    ) -> ClipRequest:
        if action not in names:
            raise RowError(
                f"Expected an action of 0 to {max(names)} (counted from 0), got {action}."
            )
        return ClipRequest(
            key=key,
            video=fill(f"{self.videos}/{self.video}", video=video, clip=clip),
            start_s=start_s,
            end_s=end_s,
            narration=names[action],
            # P01-R01-PastaSalad is the first recipe of person P01.
            scene=video.split("-")[0],
            source=self.name,
            licence=LICENCE,
            extra={"action": action, "video": video},
        )


def read_actions(path: str | Path) -> dict[int, str]:
    """Actions in words, by their number from 0.

    ``0, 5_6, Put_condiment:container`` and ``Put condiment_container 1`` are both "put condiment
    container".

    Raises:
        AnnotationFileError: the file is missing, empty, or of another form.
    """
    found = {}
    path = Path(path)
    official = path.suffix == ".txt"
    columns = () if official else ("action", "classes", "name")
    delimiter = " " if official else ","
    for row in read_table(path, columns, header=False, delimiter=delimiter):
        try:
            if official:
                # Names have blanks, as columns have: the number is the last word.
                name, _, number = " ".join(row.cells).rpartition(" ")
                action = int(number) - 1
            else:
                name, action = row.text("name"), int(row.number("action"))
            if not name.strip():
                raise RowError("expected a name before the number, got none")
        except (ValueError, RowError) as error:
            raise AnnotationFileError(
                f"Expected actions with their numbers in {path}, got {row.place}: {error}"
            ) from error
        found[action] = re.sub(r"[_:]", " ", name).lower().strip()
    return found
