"""Long videos with questions about them: Ego4D's, or consecutive clips of any store."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch

from pretrain.clips.sources.language_queries import LanguageQuery, read_language_queries
from pretrain.clips.spans import OVERHANG_S
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.model import VideoTextModel
from pretrain.evaluate.task import EvaluationDataError, Record

VIDEO_CLIPS = 8
"""Consecutive clips that make a long video where none are given."""


class LongVideos(ABC):
    """Windows of long videos, which are asked for first, and the queries about them behind.

    Args:
        data: the clips of a store.
        training: whether they are to train on.
    """

    def __init__(self, data: EvaluationClips, training: bool = False) -> None:
        self.data = data
        self.training = training

    @property
    @abstractmethod
    def queries(self) -> int:
        """How many queries there are."""

    def __len__(self) -> int:
        return len(self.data) + self.queries

    def observe(self, model: VideoTextModel, items: Sequence[int]) -> list[Record]:
        """Records of windows (``kind`` window) and queries (``kind`` query), in ascending order.

        Of a window the fields are the ``features`` (n, J) of n steps, their ``centers`` and the
        ``duration_s`` of the whole; of a query the ``features`` (1, J) of its text and the
        ``answer``, start and end. ``sequence`` names the long video, and ``video`` what it was cut
        from.
        """
        windows = [item for item in items if item < len(self.data)]
        queries = [item - len(self.data) for item in items if item >= len(self.data)]
        found: list[Record] = []
        if windows:
            found += self._windows(model, windows)
        if queries:
            found += self._queries(model, queries)
        return [{**record, "training": self.training} for record in found]

    @abstractmethod
    def _windows(self, model: VideoTextModel, clips: Sequence[int]) -> list[Record]:
        """Of the windows that begin in some clips."""

    @abstractmethod
    def _queries(self, model: VideoTextModel, queries: Sequence[int]) -> list[Record]:
        """Of some queries."""


class ConsecutiveClips(LongVideos):
    """Eight consecutive clips make a video, and the caption of each is a question about it.

    Windows of a clip's length begin at every frame, so that they do not know where clips meet. A
    frame counts as a second.
    """

    @property
    def queries(self) -> int:
        """Every clip is asked for."""
        return len(self.data)

    def _windows(self, model: VideoTextModel, clips: Sequence[int]) -> list[Record]:
        records = []
        for clip in clips:
            first, last = self._ends(clip)
            shown = self.data.frames([clip, clip + 1] if clip < last else [clip])
            length, frames = shown.shape[1], shown.flatten(0, 1)
            starts = range(length if clip < last else 1)
            windows = torch.stack([frames[start : start + length] for start in starts])
            features = model.encode_video(windows).float().cpu().numpy()
            centers = (clip - first + 0.5) * length + np.array(starts)
            duration_s = float((last - first + 1) * length)
            name = _name(first)
            records.append(_window(name, name, features, centers, duration_s))
        return records

    def _queries(self, model: VideoTextModel, queries: Sequence[int]) -> list[Record]:
        captions = self.data.texts(queries, "caption")
        texts = self.data.embed_texts(model, captions)
        length = self.data.frames([queries[0]]).shape[1]
        records = []
        for clip, caption, text in zip(queries, captions, texts, strict=True):
            first, _ = self._ends(clip)
            place = clip - first
            name = _name(first)
            start_s, end_s = float(place * length), float((place + 1) * length)
            query = LanguageQuery(name, name, name, place, caption, start_s, end_s)
            records.append(_query(text, query, 0))
        return records

    def _ends(self, clip: int) -> tuple[int, int]:
        """First and last clip of the video that a clip is in."""
        first = clip // VIDEO_CLIPS * VIDEO_CLIPS
        return first, min(first + VIDEO_CLIPS, len(self.data)) - 1


class AnnotatedVideos(LongVideos):
    """The windows of Ego4D's clips (``source=ego4d_windows``) with the published queries.

    Args:
        data: the windows.
        annotations: ``nlq_train.json`` or ``nlq_val.json``.
        training: whether they are to train on.

    Raises:
        AnnotationFileError: the annotations cannot be read.
        EvaluationDataError: they ask about none of the clips.
    """

    def __init__(self, data: EvaluationClips, annotations: str, training: bool = False) -> None:
        super().__init__(data, training)
        extras = data.read(range(len(data)), ["extra"])["extra"]
        # Where the windows of each clip end: those of a video that is too short are not there.
        ends: dict[str, float] = {}
        for extra in extras:
            if "window_s" in extra:
                uid = extra["clip_uid"]
                ends[uid] = max(ends.get(uid, 0.0), float(extra["window_s"][1]))
        every = read_language_queries(annotations)
        self._asked = [
            query
            for query in every
            if query.clip_uid in ends and query.start_s <= ends[query.clip_uid] + OVERHANG_S
        ]
        self._left_out = len(every) - len(self._asked)
        if not self._asked:
            raise EvaluationDataError(
                f"Expected windows of the clips that {annotations} asks about, got none of "
                f"{len({query.clip_uid for query in every})} in "
                f"{', '.join(map(str, data.store.paths))}; {every[0].clip_uid} is missing, for "
                "example. Prepare them with source=ego4d_windows, and measure all with "
                "data.clips=null."
            )

    @property
    def queries(self) -> int:
        """Those whose answers begin where there are windows."""
        return len(self._asked)

    def _windows(self, model: VideoTextModel, clips: Sequence[int]) -> list[Record]:
        extras = self.data.read(clips, ["extra"])["extra"]
        found = self.data.embed_videos(model, clips)
        return [
            _window(
                extra["video_uid"],
                extra["clip_uid"],
                features[None],
                np.array([np.mean(extra["window_s"])]),
                float(extra["clip_length_s"]),
            )
            for extra, features in zip(extras, found, strict=True)
        ]

    def _queries(self, model: VideoTextModel, queries: Sequence[int]) -> list[Record]:
        chosen = [self._asked[query] for query in queries]
        texts = self.data.embed_texts(model, [query.text for query in chosen])
        return [
            _query(text, query, self._left_out) for query, text in zip(chosen, texts, strict=True)
        ]


def _name(first: int) -> str:
    return f"video_{first // VIDEO_CLIPS:05d}"


def _window(
    video: str, sequence: str, features: np.ndarray, centers: np.ndarray, duration_s: float
) -> Record:
    return {
        "kind": "window",
        "video": video,
        "sequence": sequence,
        "features": features,
        "centers": centers,
        "duration_s": duration_s,
        "answer": np.full(2, np.nan),
        "text": "",
        "annotation_uid": "",
        "query_idx": -1,
        "left_out": 0,
    }


def _query(features: np.ndarray, query: LanguageQuery, left_out: int) -> Record:
    return {
        "kind": "query",
        "video": query.video_uid,
        "sequence": query.clip_uid,
        "features": features[None],
        "centers": np.full(1, np.nan),
        "duration_s": np.nan,
        "answer": np.array([query.start_s, query.end_s], np.float64),
        "text": query.text,
        "annotation_uid": query.annotation_uid,
        "query_idx": query.query_idx,
        "left_out": left_out,
    }
