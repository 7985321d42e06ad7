"""The clips of one shard as the stages before have left them."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from egodtm_robot.core.errors import CorruptStoreError
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.sources.base import ClipRequest
from pretrain.clips.store import ClipStore, shard_name
from pretrain.preparation.plan import FOLDER, read_requests
from pretrain.preparation.stage_files import StageFile, stage_path


class ShardReader:
    """Reads clips with the fields of some stages. Use as a context manager.

    Frames come from the file of the decoding or, where they were moved there, from the clip store.

    Args:
        out: folder of the clip store.
        shard: number of the shard.
        stages: whose fields are wanted, decoding first.

    Raises:
        CorruptStoreError: a file is damaged or missing.
    """

    def __init__(self, out: Path, shard: int, stages: Sequence[str]) -> None:
        self._out, self._shard = out, shard
        self.requests: dict[str, ClipRequest] = {
            request.key: request for request in read_requests(out / FOLDER, shard)
        }
        self._resources = contextlib.ExitStack()
        self.files: dict[str, StageFile] = {}
        for stage in stages:
            path = stage_path(out / FOLDER, stage, shard)
            try:
                self.files[stage] = self._resources.enter_context(StageFile(path))
            except FileNotFoundError as error:
                raise CorruptStoreError(
                    f"Expected what {stage} wrote in {path}, but there is none. Start the command "
                    "again to have it made."
                ) from error
        self.keys: list[str] = [
            key
            for key in self.requests
            if all(key in file.record.keys for file in self.files.values())
        ]
        """Clips that came through all of these stages, in the order of the plan."""
        self._store: ClipStore | None = None
        self._rows: dict[str, int] = {}

    def __enter__(self) -> "ShardReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def clip(self, key: str) -> AnnotatedClip:
        """One clip, whole.

        Raises:
            CorruptStoreError: stored bytes were changed or are missing.
        """
        request = self.requests[key]
        fields: dict[str, Any] = {}
        for file in self.files.values():
            fields |= file.fields(key)
        if "frames" not in fields:
            fields["frames"] = self.frames(key)
        fields["distractors"] = tuple(fields.get("distractors", ()))
        return AnnotatedClip(
            key=key,
            narration=request.narration,
            scene=request.scene,
            source=request.source,
            licence=request.licence,
            **fields,
        )

    def frames(self, key: str) -> np.ndarray:
        """Frames of a clip, uint8 (T, H, W, 3), wherever they lie.

        Raises:
            CorruptStoreError: stored bytes were changed or are missing.
        """
        file = self.files["decode"]
        if key not in file.record.keys_in_store:
            kept: np.ndarray = file.field(key, "frames")
            return kept
        if self._store is None:
            self._store = ClipStore.open(self._out / shard_name(self._shard))
            keys = self._store.read(range(len(self._store)), ["key"])["key"]
            self._rows = {name: row for row, name in enumerate(keys)}
        if key not in self._rows:
            raise CorruptStoreError(
                f"Expected the frames of clip {key!r} in {shard_name(self._shard)} of {self._out}, "
                "but they are not there. Remove that shard and start the command again: it is "
                "decoded again."
            )
        frames: np.ndarray = self._store.read([self._rows[key]], ["frames"])["frames"][0]
        return frames
