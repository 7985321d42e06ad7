"""A folder of videos with a table: the form for footage of one's own."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretrain.clips.decoded_frame import check_crop
from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.tables import Row, RowError, checked, read_table

COLUMNS = ("video", "start", "end", "text")
"""What the table must have; ``start`` and ``end`` may be empty for all of a video."""

OPTIONAL_COLUMNS = ("key", "scene", "crop", "fps", "depth")
"""What it may have besides; every further column is kept with the clip."""


class FolderSource:
    """Videos below a folder, and a table with a row a clip.

    ======================  ================================================================
    column                  what it holds
    ======================  ================================================================
    ``video``               file, or folder of numbered pictures, below ``videos``
    ``start``, ``end``      seconds or 00:01:07.25; empty for the video's start and end
    ``text``                what happens
    ``key`` (optional)      name of the clip; otherwise the video's and a number
    ``scene`` (optional)    the place; clips that share it never lie in two splits; otherwise
                            the video
    ``crop`` (optional)     part of the picture: left, top, right, bottom as shares, by blanks
    ``fps`` (optional)      of a folder of pictures
    ``depth`` (optional)    folder of 16-bit depth pictures with the same numbers, below ``videos``
    ======================  ================================================================

    Args:
        annotations: the table; ``clips.csv`` in the folder by default.
        videos: the folder.
        name: of the data set, as clips name their source.
        licence: under which the clips may be passed on.
        depth_unit_m: meters that one step of depth pictures counts for.
        depth_calibration: ``aligned`` where depth pictures show what the color pictures show, or
            the name of a pair of cameras, see :mod:`pretrain.clips.depth_frames`.
    """

    kind = "folder"

    def __init__(
        self,
        videos: str,
        annotations: str | None = None,
        name: str = "folder",
        licence: str = "unknown",
        depth_unit_m: float = 0.001,
        depth_calibration: str = "aligned",
    ) -> None:
        self.name = name
        self.videos = Path(videos)
        self.annotations = Path(annotations) if annotations else self.videos / "clips.csv"
        self.licence = licence
        self.depth_unit_m = depth_unit_m
        self.depth_calibration = depth_calibration

    def read(self) -> Iterator[ClipRequest | Failure]:
        """Every row in the table's order.

        Raises:
            AnnotationFileError: the table is missing, empty, or lacks a column.
        """
        counts: dict[str, int] = {}
        for row in read_table(self.annotations, COLUMNS):
            try:
                yield self._request(row, counts)
            except RowError as error:
                yield Failure(row.place, "source", str(error))

    def _request(self, row: Row, counts: dict[str, int]) -> ClipRequest | Failure:
        if row.problem is not None:
            raise RowError(row.problem)
        video = row.text("video")
        number = counts[video] = counts.get(video, -1) + 1
        given = {name: value.strip() for name, value in row.values.items() if value.strip()}
        extra: dict[str, Any] = {
            name: value
            for name, value in given.items()
            if name and name not in (*COLUMNS, *OPTIONAL_COLUMNS)
        }
        if "crop" in given:
            try:
                extra["crop"] = list(check_crop(given["crop"].split()))
            except ValueError as error:
                raise RowError(str(error)) from error
        if "fps" in given:
            extra["fps"] = row.number("fps")
        if "depth" in given:
            extra["depth"] = {
                "folder": str(self.videos / given["depth"]),
                "unit_m": self.depth_unit_m,
                "calibration": self.depth_calibration,
            }
        request = ClipRequest(
            key=given.get("key", f"{video}/{number}"),
            video=self.videos / video,
            start_s=row.clock("start") if "start" in given else 0.0,
            end_s=row.clock("end") if "end" in given else math.inf,
            narration=row.text("text"),
            scene=given.get("scene", video),
            source=self.name,
            licence=self.licence,
            extra=extra,
        )
        return checked(request, row.place)
