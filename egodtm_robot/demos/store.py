"""Demonstrations on disk: whole episodes, steps in flat arrays, and what is derived from them.

A store is a Zarr v3 hierarchy with one group of arrays for the episodes (see
:mod:`egodtm_robot.core.storage` for how it survives a kill) and one more for each derived array:
images of another camera, depth, cached features. A derived array has a row for every step, is
written in order, and counts only once every row is there.

    actions (N, A)                      observations/rgb/<camera> (N, H, W, 3)
    simulator_state (N, S)              observations/proprioception (N, P)
    reset/<name> (E, ...)               observations/privileged (N, V)
    features/<fingerprint>/<camera> (N, L, D)

Demonstrations that were converted from another toolkit (see :class:`Origin`) may also have
``task_index`` (N,), ``extra/<name>`` (N, ...) and ``notes``, the bytes of a JSON object for each
episode.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import DTypeLike

from egodtm_robot.core.errors import (
    CorruptStoreError,
    ForeignStoreError,
    InvalidEpisodeError,
    StoreArrayError,
    StoreExistsError,
    StoreNotFoundError,
    UnknownNameError,
)
from egodtm_robot.core.storage import (
    ROOT_RECORD,
    ArraySpec,
    CommittedArray,
    CommittedGroup,
    Problem,
    record_names,
)
from egodtm_robot.demos.attributes import DemonstrationAttributes
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.origin import Origin

_TOP_LEVEL = ("actions", "simulator_state", "task_index", "notes")
_NOT_STEPS = ("reset/", "notes")

_NOTES_CHUNK_BYTES = 64 * 1024

_REQUIRED = tuple(
    field.name
    for field in dataclasses.fields(DemonstrationAttributes)
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
)
"""Attributes that every store of demonstrations has, whatever its version."""


_CONVERT = (
    "If another toolkit's data set lies there, make a store of it: "
    "python -m egodtm_robot.convert format=NAME path=... out=..."
)


def check_free_path(path: Path) -> None:
    """Refuse a path that no new store can be made at.

    Raises:
        StoreExistsError: something else lies there.
    """
    if path.exists() and not path.is_dir():
        raise StoreExistsError(
            f"Expected a free path for a new store, but {path} is a file. {_CONVERT}"
        )
    foreign = _contents(path)
    if foreign and not (path / ".commits").is_dir():
        raise StoreExistsError(
            f"Expected an empty folder for a new store, but {path} holds "
            f"{', '.join(foreign[:3])}. Choose another path. {_CONVERT}"
        )


def _contents(path: Path) -> list[str]:
    """Names in a folder but those that a new store has as well."""
    if not path.is_dir():
        return []
    return sorted(p.name for p in path.iterdir() if p.name not in (".commits", "zarr.json"))


class DemonstrationStore:
    """Demonstrations of one task under one randomization and visual preset.

    Steps are numbered 0 to N - 1 through all episodes; episode i has the steps
    ``episode_offsets[i]`` to ``episode_offsets[i + 1]``. Arrays are named as in
    ``"actions"``, ``"proprioception"``, ``"rgb/left"``, ``"depth/left"``.
    """

    def __init__(self, path: Path, group: CommittedGroup, mode: Literal["r", "a"]) -> None:
        self.path = path
        self.mode = mode
        self._group = group
        self._derived: dict[str, CommittedArray] = {}

    # Opening and closing

    @classmethod
    def create(
        cls, path: str | Path, attributes: DemonstrationAttributes, *, timeout_s: float = 10.0
    ) -> "DemonstrationStore":
        """A new, empty store, open for appending. Its first episode decides the arrays' shapes.

        Raises:
            StoreExistsError: a store or something else lies at ``path``.
            StoreLockedError: another process is writing there.
            DiskSpaceError: the disk is full.
        """
        path = Path(path)
        check_free_path(path)
        values = {k: v for k, v in dataclasses.asdict(attributes).items() if v is not None}
        values |= {"attempted_episodes": 0, "kept_episodes": 0}
        group = CommittedGroup.create(path, ROOT_RECORD, values, timeout_s=timeout_s)
        return cls(path, group, "a")

    @classmethod
    def open(
        cls, path: str | Path, mode: Literal["r", "a"] = "r", *, timeout_s: float = 10.0
    ) -> "DemonstrationStore":
        """An existing store, as of its last commit.

        Args:
            path: folder of the store.
            mode: "r" to read (and to add derived arrays), "a" to append episodes.
            timeout_s: how long "a" waits for another writer to finish.

        Raises:
            StoreNotFoundError: there is no store at ``path``.
            ForeignStoreError: the store there holds something else, such as clips.
            CorruptStoreError: its commit record was changed.
            StoreLockedError: another process kept appending for ``timeout_s``.
        """
        path = Path(path)
        try:
            group = CommittedGroup.open(path, ROOT_RECORD, mode, timeout_s=timeout_s)
        except StoreNotFoundError as error:
            if path.is_file() or _contents(path):
                raise StoreNotFoundError(f"{error} {_CONVERT}") from error
            raise
        lacking = [name for name in _REQUIRED if name not in group.attributes]
        if lacking:
            group.close()
            raise ForeignStoreError(
                f"Expected a store of demonstrations at {path}, but the one there does not say its "
                f"{', '.join(lacking)}. Name one that egodtm_robot.collect or train_bc made."
            )
        return cls(path, group, mode)

    def close(self) -> None:
        """Let the next writer in. Reading goes on working."""
        self._group.close()

    def __enter__(self) -> "DemonstrationStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What is there

    def as_zarr(self) -> zarr.Group:
        """The store as a read-only group of zarr-python, for tools that take one.

        It holds the rows of the commit that was the last when it was opened, in arrays named as at
        the top of this module, such as ``observations/rgb/left``.
        """
        return zarr.open_group(self.path, mode="r")

    @property
    def attributes(self) -> DemonstrationAttributes:
        """Where the demonstrations come from."""
        return DemonstrationAttributes.from_json(self._group.attributes)

    @property
    def attempted_episodes(self) -> int:
        """Episodes that were tried, kept or not."""
        return int(self._group.attributes["attempted_episodes"])

    @property
    def kept_episodes(self) -> int:
        """Episodes that were kept: those in the store."""
        return self.num_episodes

    @property
    def num_episodes(self) -> int:
        """Number of episodes E."""
        return len(self._group.commits)

    @property
    def num_steps(self) -> int:
        """Number of steps N of all episodes."""
        return self._group.arrays["actions"].rows if self._group.arrays else 0

    @property
    def episode_offsets(self) -> np.ndarray:
        """int64 (E + 1,): the first step of each episode, and N."""
        lengths = [commit["entry"]["steps"] for commit in self._group.commits]
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    @property
    def seeds(self) -> np.ndarray:
        """int64 (E,): the seed of each episode."""
        return np.array([c["entry"]["seed"] for c in self._group.commits], dtype=np.int64)

    @property
    def successes(self) -> list[bool | None]:
        """Of each episode whether the task was solved; None where nobody has said."""
        return [commit["entry"]["success"] for commit in self._group.commits]

    @property
    def array_names(self) -> tuple[str, ...]:
        """Names of all arrays with a row a step, complete derived ones included (not features)."""
        stored = [_public(name) for name in self._group.arrays if not name.startswith(_NOT_STEPS)]
        derived = [
            _public(name)
            for name in record_names(self.path)
            if name.startswith("observations/") and self._find_derived(name) is not None
        ]
        return tuple(sorted(stored + derived))

    @property
    def fingerprint(self) -> str:
        """16 hex digits for all that training could depend on: prefix_fingerprint of all."""
        return self.prefix_fingerprint(self.num_episodes)

    def prefix_fingerprint(self, num_episodes: int) -> str:
        """Fingerprint of the first episodes: scene, presets, seeds and the digests of every array.

        Read from the commit record alone.
        """
        values = self._group.attributes
        keys = ("environment", "task", "randomization", "visual", "model_hash")
        origin = self.attributes.origin
        content: list[Any] = [
            {key: values[key] for key in keys},
            [[c["entry"]["seed"], c["digests"]] for c in self._group.commits[:num_episodes]],
        ]
        if origin is not None:
            content.append([origin.format, origin.fps, origin.tasks, origin.columns])
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def camera_poses(self) -> dict[str, dict[str, Any]]:
        """Pose of every camera with images here, those drawn afterwards included, as it is known.

        An array that is still being drawn counts.
        """
        poses = dict(self.attributes.camera_poses)
        for name in record_names(self.path):
            if name.startswith("observations/"):
                pose = CommittedGroup.open(self.path, name).attributes.get("camera_pose")
                if pose is not None:
                    poses.setdefault(name.rpartition("/")[2], pose)
        return poses

    # Appending

    def append_episode(self, episode: Episode, *, rejected_before: int = 0) -> None:
        """Append one episode in one atomic commit.

        Args:
            episode: what to append; of the same cameras and shapes as the first one.
            rejected_before: episodes that were tried and rejected since the last commit; they and
                this one are added to ``attempted_episodes``.

        Raises:
            InvalidEpisodeError: the episode contradicts itself or the store.
            StoreReadOnlyError: not open for appending in this process.
            DiskSpaceError: the disk is full; the episode was not stored, all earlier ones are.
        """
        attributes = self.attributes
        origin = attributes.origin
        arrays = episode.step_arrays(bounded=origin is None)
        rows = {_stored(name): values for name, values in arrays.items()}
        rows |= episode.episode_arrays()
        if origin is not None:
            notes = json.dumps(episode.notes, sort_keys=True).encode()
            rows["notes"] = np.frombuffer(notes, dtype=np.uint8)
            self._check_task_index(episode, origin)
        if set(episode.rgb) != set(attributes.cameras):
            raise InvalidEpisodeError(
                f"Expected images of the cameras {sorted(attributes.cameras)} of {self.path}, got "
                f"{sorted(episode.rgb)}."
            )
        for camera, frames in episode.rgb.items():
            expected = origin.resolutions[camera] if origin else attributes.resolution
            if frames.shape[1:3] != expected:
                raise InvalidEpisodeError(
                    f"Expected images of (height, width) {expected} of camera "
                    f"{camera!r}, got {frames.shape[1:3]}."
                )
        entry = {
            "steps": episode.num_steps,
            "seed": int(episode.seed),
            "success": None if episode.success is None else bool(episode.success),
        }
        counts = {
            "attempted_episodes": self.attempted_episodes + rejected_before + 1,
            "kept_episodes": self.num_episodes + 1,
        }
        try:
            self._group.append(rows, entry, counts, {"notes": _NOTES_CHUNK_BYTES})
        except StoreArrayError as error:
            raise InvalidEpisodeError(
                f"The episode of seed {episode.seed} does not fit {self.path}: {error}"
            ) from error

    @staticmethod
    def _check_task_index(episode: Episode, origin: Origin) -> None:
        indices = episode.task_index
        if indices is None:
            return
        if indices.dtype != np.int64 or indices.ndim != 1:
            raise InvalidEpisodeError(
                f"Expected task_index as int64 (T,), got {indices.dtype} {indices.shape}."
            )
        if indices.min() < 0 or indices.max() >= len(origin.tasks):
            raise InvalidEpisodeError(
                f"Expected task_index from 0 to {len(origin.tasks) - 1}, the tasks of "
                f"{origin.name}, got {indices.min()} to {indices.max()} in the episode of seed "
                f"{episode.seed}."
            )

    # Reading

    def episode(self, index: int, arrays: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Arrays of one episode, (T, ...) each; by default all in ``array_names``.

        Raises:
            IndexError: there is no such episode.
            UnknownNameError: there is no such array.
            CorruptStoreError: stored bytes were changed.
        """
        if not 0 <= index < self.num_episodes:
            raise IndexError(
                f"Expected an episode from 0 to {self.num_episodes - 1} of {self.path}, "
                f"got {index}."
            )
        start, stop = self.episode_offsets[index : index + 2].tolist()
        return self.steps(slice(start, stop), arrays)

    def reset_record(self, index: int) -> dict[str, np.ndarray]:
        """What the reset of an episode randomized, as it was given to ``Episode.reset``."""
        if not 0 <= index < self.num_episodes:
            raise IndexError(
                f"Expected an episode from 0 to {self.num_episodes - 1} of {self.path}, "
                f"got {index}."
            )
        return {
            name.removeprefix("reset/"): array.read(index, index + 1)[0]
            for name, array in self._group.arrays.items()
            if name.startswith("reset/")
        }

    def notes(self, index: int) -> dict[str, Any]:
        """Further facts about an episode of another toolkit, as they were given to the store.

        Raises:
            CorruptStoreError: stored bytes were changed.
        """
        array = self._group.arrays.get("notes")
        if array is None:
            return {}
        column = sorted(self._group.arrays).index("notes")
        ends = np.cumsum([0] + [commit["rows"][column] for commit in self._group.commits])
        content = array.read(int(ends[index]), int(ends[index + 1])).tobytes()
        found: dict[str, Any] = json.loads(content)
        return found

    def steps(
        self, where: slice | np.ndarray | Sequence[int], arrays: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Rows of steps, by a slice of step 1 or by indices in any order.

        Args:
            where: which steps.
            arrays: which arrays; by default all in ``array_names``.

        Returns:
            New arrays (n, ...) by name.

        Raises:
            IndexError: a step is outside 0 to N - 1.
            UnknownNameError: there is no such array.
            CorruptStoreError: stored bytes were changed.
        """
        names = self.array_names if arrays is None else arrays
        sources = {name: self.array(name) for name in names}
        if isinstance(where, slice):
            start, stop, stride = where.indices(self.num_steps)
            if stride == 1:
                return {n: a.read(start, max(start, stop)) for n, a in sources.items()}
            where = np.arange(start, stop, stride)
        return {name: array.take(np.asarray(where)) for name, array in sources.items()}

    def array(self, name: str) -> CommittedArray:
        """One array of all steps, to be read in parts.

        Raises:
            UnknownNameError: there is no such array.
        """
        stored = _stored(name)
        array = self._group.arrays.get(stored) or self._find_derived(stored)
        if array is None:
            raise UnknownNameError(f"array of {self.path}", name, self.array_names)
        return array

    # Derived arrays

    def add_observation(
        self,
        name: str,
        row_shape: Sequence[int],
        dtype: DTypeLike,
        *,
        camera_pose: Mapping[str, Any] | None = None,
        timeout_s: float = 10.0,
    ) -> "DerivedWriter":
        """A writer of another observation of the stored steps, such as "rgb/right".

        It goes on where an earlier one was interrupted, or where the store ended then.

        Args:
            name: "<modality>/<camera>"; a modality may carry a resolution ("rgb_224/left").
            row_shape: shape of one row.
            dtype: type of its numbers.
            camera_pose: of the camera that draws it, see :mod:`egodtm_robot.demos.compatibility`.
            timeout_s: how long to wait for another process that writes the same array.

        Raises:
            StoreExistsError: the episodes themselves hold an array of that name.
            StoreArrayError: rows of another shape or type were stored before.
            StoreLockedError: another process kept writing the same array for ``timeout_s``.
        """
        stored = _stored(name)
        if stored in self._group.arrays or not stored.startswith("observations/"):
            raise StoreExistsError(
                f"Expected a name for a new observation of {self.path}, but {name!r} was collected "
                "with the episodes."
            )
        attributes = {} if camera_pose is None else {"camera_pose": dict(camera_pose)}
        spec = ArraySpec.for_rows(dtype, row_shape)
        return DerivedWriter(self, stored, spec, timeout_s, attributes)

    def add_features(
        self, fingerprint: str, camera: str, row_shape: tuple[int, int], *, timeout_s: float = 10.0
    ) -> "DerivedWriter":
        """A writer of cached features, float32 rows (L, D); resumes as add_observation does.

        Args:
            fingerprint: of the encoder and reducer that compute them.
            camera: whose images they come from.
            row_shape: (L, D).
            timeout_s: how long to wait for another process that writes the same features.
        """
        spec = ArraySpec.for_rows(np.float32, row_shape)
        return DerivedWriter(self, f"features/{fingerprint}/{camera}", spec, timeout_s)

    def read_features(self, fingerprint: str, camera: str) -> np.ndarray | None:
        """Cached features float32 (N, L, D), or None unless there is a row for every step.

        Raises:
            CorruptStoreError: stored bytes were changed.
        """
        array = self._find_derived(f"features/{fingerprint}/{camera}")
        return None if array is None else array.read(0, self.num_steps)

    def _find_derived(self, stored: str) -> CommittedArray | None:
        """The derived array, if it has a row of these very episodes for every step."""
        known = self._derived.get(stored)
        if known is not None and known.rows >= self.num_steps:
            return known
        try:
            group = CommittedGroup.open(self.path, stored)
        except StoreNotFoundError:
            return None
        array = group.arrays.get(stored)
        if array is None or array.rows < self.num_steps or not self._derives_from_here(group):
            return None
        self._derived[stored] = array
        return array

    def _derives_from_here(self, group: CommittedGroup) -> bool:
        source = group.attributes
        episodes = min(source["source_episodes"], self.num_episodes)
        # A store that was opened before the last append knows fewer episodes than the array does.
        if episodes < source["source_episodes"]:
            return bool(source["source_first"] == self.prefix_fingerprint(1))
        return bool(source["source_fingerprint"] == self.prefix_fingerprint(episodes))

    # Checking

    def verify(self) -> list[Problem]:
        """Read every committed byte, of derived arrays too, and name all that was changed."""
        problems = self._group.verify()
        for name in record_names(self.path):
            if name == ROOT_RECORD:
                continue
            try:
                problems += CommittedGroup.open(self.path, name).verify()
            except CorruptStoreError as error:
                problems.append(Problem(name, None, str(error)))
        return problems


class DerivedWriter:
    """Writes the rows of a derived array in order, from ``next_row`` to the number of steps.

    Each :meth:`append` is a commit. Use as a context manager, or close it.
    """

    def __init__(
        self,
        store: DemonstrationStore,
        stored: str,
        spec: ArraySpec,
        timeout_s: float,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.store = store
        self._stored = stored
        self._spec = spec
        source = dict(attributes or {}) | {
            "source_episodes": store.num_episodes,
            "source_fingerprint": store.fingerprint,
            "source_first": store.prefix_fingerprint(1),
        }
        try:
            self._group = CommittedGroup.open(store.path, stored, "a", timeout_s=timeout_s)
        except StoreNotFoundError:
            try:
                self._group = CommittedGroup.create(store.path, stored, source, timeout_s=timeout_s)
            except StoreExistsError:
                # Another process created it between the two calls.
                self._group = CommittedGroup.open(store.path, stored, "a", timeout_s=timeout_s)
        try:
            array = self._group.arrays.get(stored)
            if not store._derives_from_here(self._group):
                self._group.clear(source)
            elif array is not None and (array.spec.dtype, array.spec.row_shape) != (
                spec.dtype,
                spec.row_shape,
            ):
                raise StoreArrayError(
                    f"Expected rows of shape {array.spec.row_shape} and type {array.spec.dtype} "
                    f"for {_public(stored)!r} of {store.path}, as stored before; got "
                    f"{spec.row_shape} and {spec.dtype}. Choose another name."
                )
            elif self._group.attributes["source_episodes"] < store.num_episodes:
                self._group.set_attributes(source)
        except BaseException:
            self._group.close()
            raise

    @property
    def next_row(self) -> int:
        """Number of rows committed so far: the step that the next row belongs to."""
        array = self._group.arrays.get(self._stored)
        return 0 if array is None else array.rows

    @property
    def complete(self) -> bool:
        """Whether every step has its row."""
        return self.next_row >= self.store.num_steps

    def append(self, rows: np.ndarray) -> None:
        """Append and commit the rows of the steps from ``next_row`` on, (n, *row_shape).

        Raises:
            StoreArrayError: wrong shape or type, or more rows than steps.
            DiskSpaceError: the disk is full; earlier rows are kept.
        """
        expected = (self._spec.row_shape, self._spec.dtype)
        if (rows.shape[1:], rows.dtype.name) != expected:
            raise StoreArrayError(
                f"Expected rows of shape {expected[0]} and type {expected[1]} for "
                f"{_public(self._stored)!r}, got {rows.shape[1:]} and {rows.dtype}."
            )
        if self.next_row + len(rows) > self.store.num_steps:
            raise StoreArrayError(
                f"Expected at most {self.store.num_steps - self.next_row} more rows for "
                f"{_public(self._stored)!r}, one for each step, got {len(rows)}."
            )
        if len(rows):
            self._group.append({self._stored: rows})

    def close(self) -> None:
        """Let the next writer in."""
        self._group.close()

    def __enter__(self) -> "DerivedWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def estimate_bytes(num_steps: int, rows: Mapping[str, tuple[Sequence[int], DTypeLike]]) -> int:
    """Disk that steps will take at most: uncompressed, whole chunks.

    Args:
        num_steps: steps to be stored.
        rows: for each array the (shape, dtype) of a row.
    """
    total = 0
    for shape, dtype in rows.values():
        spec = ArraySpec.for_rows(dtype, shape)
        total += spec.chunks(num_steps) * spec.chunk_rows * spec.row_bytes
    return total


def _stored(name: str) -> str:
    if name in _TOP_LEVEL or name.startswith("extra/"):
        return name
    return f"observations/{name}"


def _public(stored: str) -> str:
    return stored.removeprefix("observations/")
