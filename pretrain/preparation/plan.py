"""What is to be prepared: every request of a source, in a fixed order, dealt to shards.

Requests of one video lie together in the order of time, so that a shard opens few videos; videos
stand in the order in which the source names them. A source that grows at its end leaves the shards
before as they are.

    .prepare/
        plan.json                     the source, and what identifies each shard
        requests/shard_0000.jsonl     one request a line
        source_failures.jsonl         rows that are no requests, with their reasons
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egodtm_robot.core.errors import ConfigurationError, CorruptStoreError, ForeignStoreError
from egodtm_robot.core.kinds import stored_config, stored_kind
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.clips.sources.base import ClipRequest, Failure, Source
from pretrain.clips.store import shard_name

FOLDER = ".prepare"
"""Folder within a clip store that holds what its preparation needs to go on."""

VERSION = 1

LARGEST_SHARD_COUNT = 10_000
"""A clip store numbers its shards with four digits."""


@dataclass(frozen=True)
class PlannedShard:
    """What identifies the work of one shard.

    Attributes:
        number: of the shard.
        clips: requests that were dealt to it.
        spans: fingerprint of what is decoded: keys, videos, times, extra columns.
        narrations: fingerprint of what is said of it.
        labels: fingerprint of scenes, sources and licences.
    """

    number: int
    clips: int
    spans: str
    narrations: str
    labels: str


@dataclass(frozen=True)
class Plan:
    """All shards of a preparation.

    Attributes:
        folder: ``.prepare`` of the store.
        source: configuration of the source, as :func:`~egodtm_robot.core.kinds.stored_config` gives
            it.
        shard_clips: requests a shard holds.
        shards: in order.
        failures: rows of the source that are no requests.
    """

    folder: Path
    source: dict[str, Any]
    shard_clips: int
    shards: tuple[PlannedShard, ...]
    failures: tuple[Failure, ...]

    @property
    def clips(self) -> int:
        """Requests in all."""
        return sum(shard.clips for shard in self.shards)


def make_plan(
    source: Source, config: Mapping[str, Any], out: Path, shard_clips: int, limit: int | None = None
) -> Plan:
    """Read a source and write the plan, or bring the plan of the same source up to it.

    Args:
        source: what to prepare.
        config: its configuration, kept with the plan.
        out: folder of the clip store.
        shard_clips: requests a shard.
        limit: take only the first so many requests of the plan; None takes all.

    Raises:
        ForeignStoreError: ``out`` holds the preparation of another source, or shards of another
            size.
        ConfigurationError: the source gives no request, or too many for shards of that size.
        AnnotationFileError: an annotation file is missing, empty, or lacks a column.
    """
    folder = out / FOLDER
    before = _stored(folder)
    lines, failures = _read(source)
    stored = stored_config("source", config)
    _check_same(before, {"source": stored, "shard_clips": shard_clips}, lines, out)
    if limit is not None and limit < len(lines):
        lines = lines[:limit]
    if not lines:
        reasons = "; ".join(f"{failure.key}: {failure.reason}" for failure in failures[:3])
        raise ConfigurationError(
            f"Expected at least one clip from source {source.name!r}, got none"
            + (f" but {len(failures)} rows that are no clips, such as {reasons}" if reasons else "")
            + ". Check the annotation file and the folder of videos."
        )
    count = -(-len(lines) // shard_clips)
    if count > LARGEST_SHARD_COUNT:
        raise ConfigurationError(
            f"Expected at most {LARGEST_SHARD_COUNT} shards, but {len(lines)} clips make {count} "
            f"of {shard_clips}. Set shard_clips to at least "
            f"{-(-len(lines) // LARGEST_SHARD_COUNT)}."
        )
    requests = folder / "requests"
    requests.mkdir(parents=True, exist_ok=True)
    shards = []
    known = {shard["number"]: shard for shard in before.get("shards", [])}
    stamps: dict[str, Any] = {}
    for number in range(count):
        part = lines[number * shard_clips : (number + 1) * shard_clips]
        shard = _planned(number, part, stamps)
        file = requests / f"{shard_name(number)}.jsonl"
        if known.get(number) != dataclasses.asdict(shard) or not file.is_file():
            write_atomically(file, "".join(line + "\n" for line in part).encode())
        shards.append(shard)
    rows = [json.dumps(dataclasses.asdict(failure)) for failure in failures]
    write_atomically(folder / "source_failures.jsonl", "".join(f"{r}\n" for r in rows).encode())
    for number in set(known) - set(range(count)):
        (requests / f"{shard_name(number)}.jsonl").unlink(missing_ok=True)
    plan = Plan(folder, stored, shard_clips, tuple(shards), tuple(failures))
    content = {
        "version": VERSION,
        "source": plan.source,
        "shard_clips": shard_clips,
        "clips": plan.clips,
        "shards": [dataclasses.asdict(shard) for shard in shards],
    }
    text = json.dumps(content) + "\n"
    if not before or json.dumps(before) + "\n" != text:
        write_atomically(folder / "plan.json", text.encode())
    return plan


def remove_shards_beyond(plan: Plan, out: Path) -> None:
    """Remove shards of a longer plan that was here before; only those that a preparation made."""
    wanted = {shard_name(shard.number) for shard in plan.shards}
    for path in out.glob("shard_*"):
        if path.name not in wanted:
            shutil.rmtree(path)
    for path in plan.folder.glob("*/shard_*.npz"):
        if path.stem not in wanted:
            path.unlink()


def read_requests(folder: Path, shard: int) -> list[ClipRequest]:
    """The requests of one shard.

    Args:
        folder: ``.prepare`` of the store.
        shard: number of the shard.

    Raises:
        CorruptStoreError: they are not readable.
    """
    file = folder / "requests" / f"{shard_name(shard)}.jsonl"
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [ClipRequest(**{**row, "video": Path(row["video"])}) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptStoreError(
            f"Expected the requests of shard {shard} in {file}, but it is not readable ({error}). "
            "Remove it and start the command again."
        ) from error


def fingerprint(*parts: Any) -> str:
    """16 hex digits of anything that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(source: Source) -> tuple[list[str], list[Failure]]:
    """Requests as lines of JSON in the order of the plan, and what is none."""
    # A line takes a third of the memory of a request, which counts where there are millions.
    rows: list[tuple[int, float, int, str]] = []
    failures: list[Failure] = []
    videos: dict[str, int] = {}
    keys: set[str] = set()
    for one in source.read():
        if isinstance(one, Failure):
            failures.append(one)
            continue
        if one.key in keys:
            failures.append(
                Failure(one.key, "source", "Expected a key of its own, got one that came before.")
            )
            continue
        keys.add(one.key)
        video = videos.setdefault(str(one.video), len(videos))
        rows.append((video, one.start_s, len(rows), _line(one)))
    rows.sort()
    return [line for _, _, _, line in rows], failures


def _line(request: ClipRequest) -> str:
    content = {**dataclasses.asdict(request), "video": str(request.video)}
    return json.dumps(content, ensure_ascii=False)


def _planned(number: int, lines: list[str], stamps: dict[str, Any]) -> PlannedShard:
    rows = [json.loads(line) for line in lines]
    for row in rows:
        if row["video"] not in stamps:
            stamps[row["video"]] = _stamp(Path(row["video"]))
    spans = [
        [row["key"], row["video"], stamps[row["video"]], row["start_s"], row["end_s"], row["extra"]]
        for row in rows
    ]
    return PlannedShard(
        number=number,
        clips=len(rows),
        spans=fingerprint(spans),
        narrations=fingerprint([row["narration"] for row in rows]),
        labels=fingerprint([[row["scene"], row["source"], row["licence"]] for row in rows]),
    )


def _stamp(video: Path) -> Any:
    """What changes when a video does: a file that was missing or replaced is decoded again."""
    try:
        status = video.stat()
    except OSError:
        return None
    return "folder" if video.is_dir() else [status.st_size, status.st_mtime_ns]


def _stored(folder: Path) -> dict[str, Any]:
    file = folder / "plan.json"
    if not file.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptStoreError(
            f"Expected a plan in {file}, but it is not readable ({error}). Remove it and start the "
            "command again; what was prepared is kept."
        ) from error
    if content.get("version") != VERSION:
        raise ForeignStoreError(
            f"Expected a plan of version {VERSION} in {file}, got {content.get('version')!r}. "
            "Choose another folder."
        )
    return content


def _check_same(
    before: Mapping[str, Any], plan: Mapping[str, Any], lines: list[str], out: Path
) -> None:
    """Refuse to prepare one data set into the folder of another.

    Options of a source may change, and it may grow; a folder whose first clips have all gone is
    rather another data set, whose shards would take the place of these.
    """
    if not before or not any((out / FOLDER).glob("decode/*.npz")):
        return  # a plan that nothing has come of binds nobody
    kind, wanted = stored_kind("source", before["source"]), stored_kind("source", plan["source"])
    there = {request.key for request in read_requests(out / FOLDER, 0)}
    if kind != wanted or not there & {json.loads(line)["key"] for line in lines}:
        raise ForeignStoreError(
            f"Expected {out} to hold clips of {plan['source']}, but they are of "
            f"{before['source']}. Choose another folder."
        )
    if before["shard_clips"] != plan["shard_clips"]:
        raise ForeignStoreError(
            f"Expected shards of {plan['shard_clips']} clips, but {out} has shards of "
            f"{before['shard_clips']}. Set shard_clips to that, or choose another folder."
        )
