"""Held-out clips as a model is shown them, and what is known of them."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from egodtm_robot.core.errors import DatasetError
from egodtm_robot.core.fingerprints import hash_parts
from pretrain.clips.augmentation import central_crop, crop_boxes, crop_depth, crop_frames
from pretrain.clips.clip import Boxes
from pretrain.clips.store import ClipStore
from pretrain.evaluate.embeddings import Embeddings
from pretrain.evaluate.model import VideoTextModel

PIECE = 32
"""Clips that a model sees at once: piece p holds the clips from 32 p on. The pieces are the same
for any number of processes and after any interruption, and so are embeddings, to the last bit."""


class EvaluationClips:
    """Some clips of a store: the square in the middle of their frames, without randomness.

    Clips are named by their places from 0 to n - 1 in this selection.

    Args:
        store: where they lie.
        clips: int (n,), which clips of the store; None for all.
        resolution: side of the frames that the model takes, pixels.
        frames: most frames of a clip that it takes, or None for any number.
        cache: folder to keep embeddings in, or None to keep them in memory alone.
        processes: how many processes share the clips piece by piece; says which piece comes next.

    Raises:
        DatasetError: there are no clips, or clips of different numbers of frames.
    """

    def __init__(
        self,
        store: ClipStore,
        clips: np.ndarray | None = None,
        *,
        resolution: int,
        frames: int | None = None,
        cache: Path | None = None,
        processes: int = 1,
    ) -> None:
        self.store = store
        self.clips = np.arange(len(store)) if clips is None else np.asarray(clips, np.int64)
        if not len(self.clips):
            paths = ", ".join(str(path) for path in store.paths)
            raise DatasetError(f"Expected at least one clip of {paths}, got none.")
        self.resolution = resolution
        self.most_frames = frames
        self.cache = cache
        lengths = sorted({len(self._times(shape[0])) for shape in store.frame_shapes})
        if len(lengths) > 1:
            raise DatasetError(
                f"Expected clips of one number of frames, got {lengths}. Evaluate the stores apart."
            )
        self._processes = processes
        self._embeddings = Embeddings(self, cache)
        self._loaded: dict[tuple[int, ...], Future[torch.Tensor]] = {}
        self._reader = ThreadPoolExecutor(1, "evaluation-clips")

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def fingerprint(self) -> str:
        """Of the clips, their order, and how they are shown."""
        stored = self.store.prefix_fingerprint(int(self.clips.max()) + 1)
        return hash_parts(stored, self.clips.tolist(), self.resolution, self.most_frames)

    def read(self, clips: Sequence[int], fields: Sequence[str]) -> dict[str, list]:
        """Fields of clips as they were stored, see :meth:`pretrain.clips.ClipStore.read`."""
        return self.store.read(self.clips[np.asarray(clips, np.int64)], fields)

    def frames(self, clips: Sequence[int]) -> torch.Tensor:
        """Frames uint8 (n, T, H, W, 3) of n clips.

        The same tensor is returned while the same clips are asked for, so that a model can keep
        what it has made of it. A thread meanwhile reads the piece that comes next.
        """
        wanted = tuple(int(clip) for clip in clips)
        loaded = self._loaded.pop(wanted, None) or self._reader.submit(self._read_frames, wanted)
        self._loaded = {wanted: loaded}
        number = self.piece_of(wanted[0])
        ahead = tuple(self.piece(number + self._processes))
        if ahead and wanted == tuple(self.piece(number)):
            self._loaded[ahead] = self._reader.submit(self._read_frames, ahead)
        return loaded.result()

    def depth(self, clips: Sequence[int], size: tuple[int, int]) -> torch.Tensor:
        """True depth float32 (n, T, h, w) on a grid of ``size`` (h, w).

        In the store's units, near is small; NaN where it is not known and for clips without depth.
        """
        maps = []
        for clip, values in zip(clips, self.read(clips, ["depth"])["depth"], strict=True):
            shape = self._shape(clip)
            times = self._times(shape[0])
            found = crop_depth(values, central_crop(*shape[1:3]), size, shape[0])
            maps.append(found[times])
        return torch.stack(maps)

    def boxes(self, clips: Sequence[int]) -> list[Boxes | None]:
        """True boxes as shares of the frames shown; None for a clip without any."""
        found: list[Boxes | None] = []
        for clip, boxes in zip(clips, self.read(clips, ["boxes"])["boxes"], strict=True):
            shape = self._shape(clip)
            places = np.full(shape[0], -1, np.int16)
            places[self._times(shape[0])] = np.arange(len(self._times(shape[0])))
            kept = boxes.select(places[boxes.frame] >= 0)
            kept.frame = places[kept.frame]
            found.append(crop_boxes(kept, central_crop(*shape[1:3])) if len(boxes) else None)
        return found

    @cached_property
    def depth_unit(self) -> str:
        """``m`` if all depth among the first clips is in meters, else ``relative``."""
        kinds = set(self.store.read(self.clips[:64], ["depth_kind"])["depth_kind"]) - {None}
        return "m" if kinds == {"metric"} else "relative"

    def videos(self, clips: Sequence[int]) -> list[str]:
        """The video that each clip was cut from, where that is known, else its scene."""
        found = self.read(clips, ["scene", "extra"])
        return [
            str(extra.get("video", scene))
            for scene, extra in zip(found["scene"], found["extra"], strict=True)
        ]

    def embed_videos(self, model: VideoTextModel, clips: Sequence[int]) -> np.ndarray:
        """Embeddings float32 (n, J) of clips, computed once a model."""
        return self._embeddings.videos(model, clips)

    def embed_texts(self, model: VideoTextModel, texts: Sequence[str]) -> np.ndarray:
        """Embeddings float32 (n, J) of texts, computed once a model."""
        return self._embeddings.texts(model, texts)

    def piece(self, number: int) -> range:
        """The clips of piece ``number``; none behind the last."""
        return range(number * PIECE, min((number + 1) * PIECE, len(self)))

    def piece_of(self, clip: int) -> int:
        """The number of the piece that a clip lies in."""
        return int(clip) // PIECE

    def _read_frames(self, clips: Sequence[int]) -> torch.Tensor:
        frames = []
        for clip, stored in zip(clips, self.read(clips, ["frames"])["frames"], strict=True):
            times = self._times(len(stored))
            shown = stored if len(times) == len(stored) else stored[times]
            crop = central_crop(*self._shape(clip)[1:3])
            frames.append(crop_frames(shown, crop, self.resolution))
        return torch.stack(frames)

    def _shape(self, clip: int) -> tuple[int, ...]:
        """T, H, W, 3 of a clip's stored frames."""
        return tuple(self.store.frame_shape(int(self.clips[clip])))

    def _times(self, frames: int) -> np.ndarray:
        """Which frames of a clip are shown: those at the middles of equal parts."""
        shown = frames if self.most_frames is None else min(frames, self.most_frames)
        return ((np.arange(shown) + 0.5) * frames / shown).astype(int)
