"""Held-out clips as a model is shown them, and what is known of them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from egodtm_robot.core.errors import DatasetError
from egodtm_robot.core.fingerprints import hash_parts
from pretrain.clips.augmentation import crop_boxes, crop_depth
from pretrain.clips.clip import Boxes
from pretrain.clips.store import ClipStore
from pretrain.evaluate.crops import all_crops, main_crop, show
from pretrain.evaluate.embeddings import Embeddings
from pretrain.evaluate.frame_choice import choose_frames
from pretrain.evaluate.loader import LoaderConfig
from pretrain.evaluate.model import VideoTextModel
from pretrain.evaluate.shown_texts import shown_text

PIECE = 32
"""Clips that a model sees at once: piece p holds the clips from 32 p on. The pieces are the same
for any number of processes and after any interruption, and so are embeddings, to the last bit."""


class EvaluationClips:
    """Some clips of a store as a loader shows them, without randomness.

    Clips are named by their places from 0 to n - 1 in this selection. Embeddings are means over all
    views of a clip, of length 1; ``frames``, ``depth`` and ``boxes`` are those of the view in the
    middle.

    Args:
        store: where they lie.
        clips: int (n,), which clips of the store; None for all.
        resolution: side of the frames that the model takes, pixels.
        frames: most frames of a clip that it takes, or None for any number.
        loader: which frames, which part of them and which words are shown.
        cache: folder to keep embeddings in, or None to keep them in memory alone.
        processes: how many processes share the clips piece by piece; says which piece comes next.

    Raises:
        DatasetError: there are no clips, clips of different numbers of frames, or of fewer than the
            loader takes.
    """

    def __init__(
        self,
        store: ClipStore,
        clips: np.ndarray | None = None,
        *,
        resolution: int,
        frames: int | None = None,
        loader: LoaderConfig | None = None,
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
        self.loader = LoaderConfig() if loader is None else loader
        self.cache = cache
        lengths = sorted(
            {self._views_in_time(shape[0], "").shape[1] for shape in store.frame_shapes}
        )
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

    def others(self, store: ClipStore) -> "EvaluationClips":
        """All clips of another store, shown in the same way."""
        return EvaluationClips(
            store,
            resolution=self.resolution,
            frames=self.most_frames,
            loader=self.loader,
            cache=self.cache,
        )

    @cached_property
    def selection(self) -> str:
        """Fingerprint of the clips and their order, however they are shown."""
        stored = self.store.prefix_fingerprint(int(self.clips.max()) + 1)
        return hash_parts(stored, self.clips.tolist())

    @cached_property
    def fingerprint(self) -> str:
        """Of the clips, their order, and how they are shown, in which words."""
        usual = LoaderConfig().settings
        changed = {k: v for k, v in self.loader.settings.items() if v != usual[k]}
        return hash_parts(self.seen, changed) if changed else self.seen

    @cached_property
    def seen(self) -> str:
        """Of the clips, their order and what is seen of them; embeddings are kept under it."""
        stored = self.store.prefix_fingerprint(int(self.clips.max()) + 1)
        parts = [stored, self.clips.tolist(), self.resolution, self.most_frames]
        usual = LoaderConfig().video_settings
        # What has its usual value is left out, so that a new setting changes no old fingerprint.
        changed = {k: v for k, v in self.loader.video_settings.items() if v != usual[k]}
        return hash_parts(*parts, *([changed] if changed else []))

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
            times = self._times(clip)
            found = crop_depth(values, main_crop(*self._size(clip), self.loader), size, shape[0])
            maps.append(found[times])
        return torch.stack(maps)

    def boxes(self, clips: Sequence[int]) -> list[Boxes | None]:
        """True boxes as shares of the frames shown; None for a clip without any."""
        found: list[Boxes | None] = []
        for clip, boxes in zip(clips, self.read(clips, ["boxes"])["boxes"], strict=True):
            times = self._times(clip)
            kept = boxes.select(np.isin(boxes.frame, times))
            # Of a frame that is shown twice the boxes are those of its first place.
            kept.frame = np.searchsorted(times, kept.frame).astype(np.int16)
            crop = main_crop(*self._size(clip), self.loader)
            found.append(crop_boxes(kept, crop) if len(boxes) else None)
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
        """Embeddings float32 (n, J) of texts as the loader shows them, computed once a model."""
        return self._embeddings.texts(model, [shown_text(text, self.loader) for text in texts])

    def texts(self, clips: Sequence[int], usual: Literal["narration", "caption"]) -> list[str]:
        """What is read to a model of each clip; ``usual`` is what the task asks for by itself."""
        name = usual if self.loader.text == "task" else self.loader.text
        return [text.strip() for text in self.read(clips, [name])[name]]

    @cached_property
    def views(self) -> int:
        """How many views of a clip there are at most."""
        return max(
            len(all_crops(shape[1], shape[2], self.loader)) * self.loader.windows
            for shape in self.store.frame_shapes
        )

    def view_frames(self, clip: int) -> Iterator[torch.Tensor]:
        """Frames uint8 (T, H, W, 3) of each view of a clip."""
        (stored,) = self.read([clip], ["frames"])["frames"]
        for times in self._views_in_time(len(stored), self._key(clip)):
            for crop in all_crops(*self._size(clip), self.loader):
                yield show(stored[times], crop, self.resolution, self.loader)

    def piece(self, number: int) -> range:
        """The clips of piece ``number``; none behind the last."""
        return range(number * PIECE, min((number + 1) * PIECE, len(self)))

    def piece_of(self, clip: int) -> int:
        """The number of the piece that a clip lies in."""
        return int(clip) // PIECE

    def _read_frames(self, clips: Sequence[int]) -> torch.Tensor:
        frames = []
        for clip, stored in zip(clips, self.read(clips, ["frames"])["frames"], strict=True):
            times = self._times(clip)
            shown = stored if len(times) == len(stored) and self._is_plain else stored[times]
            crop = main_crop(*self._size(clip), self.loader)
            frames.append(show(shown, crop, self.resolution, self.loader))
        return torch.stack(frames)

    @property
    def _is_plain(self) -> bool:
        """Whether a choice of as many frames as there are is all of them, in order."""
        return self.loader.choice == "segment_middles"

    def _shape(self, clip: int) -> tuple[int, ...]:
        """T, H, W, 3 of a clip's stored frames."""
        return tuple(self.store.frame_shape(int(self.clips[clip])))

    def _size(self, clip: int) -> tuple[int, int]:
        """Height and width of a clip's stored frames."""
        _, height, width, _ = self._shape(clip)
        return height, width

    def _key(self, clip: int) -> str:
        """What random choices of a clip depend on."""
        return str(self.read([clip], ["key"])["key"][0]) if self.loader.choice == "random" else ""

    def _times(self, clip: int) -> np.ndarray:
        """Which frames of a clip are shown where one view alone is asked for."""
        views = self._views_in_time(self._shape(clip)[0], self._key(clip))
        times: np.ndarray = views[len(views) // 2]
        return times

    def _views_in_time(self, stored: int, key: str) -> np.ndarray:
        shown = self.loader.frames
        if shown is None:
            shown = stored if self.most_frames is None else min(stored, self.most_frames)
        return choose_frames(stored, shown, self.loader, key)
