"""A teacher's tokens of the clips of a store, computed once and kept in a folder beside it.

A teacher is many times larger than the model that learns from it, and always says the same. Its
tokens are averaged to a grid and kept in half precision; beside them lie the mean and deviation of
each channel, by which they are standardized when they are read. They come from the first clips
alone, so that a store that grows keeps them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from egodtm_robot.core.errors import ForeignStoreError
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.storage import ROOT_RECORD, CommittedGroup, check_free_space, record_path
from egodtm_robot.core.storage.locking import UNTIL_FREE
from pretrain.clips.store import ClipStore

KIND = "egodtm-robot-teacher-tokens"
VERSION = 1

_CLIPS_A_COMMIT = 64

Encode = Callable[[np.ndarray], np.ndarray]
"""Frames uint8 (T, H, W, 3) -> tokens float32 (T, h, w, D)."""


def tokens_folder(store: ClipStore, teacher: str) -> Path:
    """Where the tokens of a store lie: beside its first path, named by teacher and paths.

    Args:
        store: of the clips.
        teacher: fingerprint of the teacher and of the grid.
    """
    first = store.paths[0]
    name = hash_parts(teacher, [path.name for path in store.paths])
    return first.with_name(f"{first.name}-teacher-{name[:12]}")


class TeacherTokens:
    """Tokens of the first clips of a store, for reading. Picklable, like the store.

    Use :meth:`open`.
    """

    def __init__(self, folder: Path, group: CommittedGroup) -> None:
        self.folder = folder
        self._group = group
        self._mean = np.array(group.attributes["mean"], np.float32)
        self._deviation = np.array(group.attributes["deviation"], np.float32)

    @classmethod
    def open(cls, folder: Path, store: ClipStore, teacher: str) -> "TeacherTokens":
        """The tokens of a folder.

        Raises:
            StoreNotFoundError: there are none.
            ForeignStoreError: they are another teacher's, or of other clips.
        """
        group = CommittedGroup.open(folder, ROOT_RECORD)
        _check(group, folder, store, teacher)
        return cls(folder, group)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (self.folder,))

    def __len__(self) -> int:
        """Clips that there are tokens of."""
        return self._group.arrays["tokens"].rows

    @property
    def channels(self) -> int:
        """D of a token."""
        return len(self._mean)

    @property
    def description(self) -> dict[str, Any]:
        """What decides them, for the identity of a training."""
        attributes = self._group.attributes
        scale = hash_parts(attributes["mean"], attributes["deviation"])
        return {"teacher": attributes["teacher"], "name": attributes["name"], "scale": scale}

    def read(self, clip: int) -> np.ndarray:
        """Standardized tokens of a clip's frames, float32 (T, h, w, D).

        Raises:
            IndexError: there are none of this clip.
            CorruptStoreError: stored bytes were changed.
        """
        row = self._group.arrays["tokens"].read(clip, clip + 1)[0]
        return (row.astype(np.float32) - self._mean) / self._deviation


def make_tokens(
    folder: Path,
    store: ClipStore,
    clips: int,
    teacher: str,
    name: str,
    encode: Encode,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Compute the tokens that are missing of the first clips; goes on where it was stopped.

    Args:
        folder: of :func:`tokens_folder`.
        store: of the clips.
        clips: how many of them, from the first.
        teacher: fingerprint of the teacher and of the grid.
        name: what the teacher is called.
        encode: the teacher.
        progress: called with the clips that are done.

    Raises:
        ForeignStoreError: the folder holds another teacher's tokens, or those of other clips.
        StoreLockedError: another process writes to it.
        DiskSpaceError: they do not fit on the disk.
    """
    if not record_path(folder, ROOT_RECORD).exists():
        values = {"kind": KIND, "version": VERSION, "teacher": teacher, "name": name}
        CommittedGroup.create(folder, ROOT_RECORD, values, timeout_s=UNTIL_FREE).close()
    with CommittedGroup.open(folder, ROOT_RECORD, "a", timeout_s=UNTIL_FREE) as group:
        _check(group, folder, store, teacher)
        while (done := _rows(group)) < clips:
            chosen = np.arange(done, min(clips, done + _CLIPS_A_COMMIT))
            frames = store.read(chosen, ["frames"])["frames"]
            tokens = np.stack([encode(clip) for clip in frames])
            attributes: dict[str, Any] = {}
            if done == 0:
                attributes = _scale(tokens)
                check_free_space(folder, clips * tokens[0].astype(np.float16).nbytes)
            end = int(chosen[-1]) + 1
            attributes |= {"clips": end, "fingerprint": store.prefix_fingerprint(end)}
            group.append(
                {"tokens": tokens.astype(np.float16)},
                {"clips": len(chosen)},
                attributes,
                chunk_rows={"tokens": 1},
            )
            if progress is not None:
                progress(end)


def _scale(tokens: np.ndarray) -> dict[str, list[float]]:
    """Mean and deviation of each channel, as stored."""
    values = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    deviation = values.std(axis=0)
    # A channel that never changes stays 0.
    deviation[deviation < 1e-6] = 1.0
    return {"mean": values.mean(axis=0).tolist(), "deviation": deviation.tolist()}


def _rows(group: CommittedGroup) -> int:
    return group.arrays["tokens"].rows if group.arrays else 0


def _check(group: CommittedGroup, folder: Path, store: ClipStore, teacher: str) -> None:
    attributes = group.attributes
    if attributes.get("kind") != KIND or attributes["version"] != VERSION:
        raise ForeignStoreError(
            f"Expected tokens of a teacher at {folder}, got another store. Move it away."
        )
    if attributes["teacher"] != teacher:
        raise ForeignStoreError(
            f"Expected tokens of the teacher and grid {teacher} at {folder}, got those of "
            f"{attributes['teacher']} ({attributes['name']}). Remove the folder to compute them "
            "again."
        )
    rows = _rows(group)
    if rows and store.prefix_fingerprint(rows) != attributes["fingerprint"]:
        raise ForeignStoreError(
            f"Expected tokens of the clips of {', '.join(map(str, store.paths))} at {folder}, got "
            "those of other clips: the store was made again. Remove the folder to compute them "
            "again."
        )


def _reopen(folder: Path) -> TeacherTokens:
    return TeacherTokens(folder, CommittedGroup.open(folder, ROOT_RECORD))
