"""Fills a store with synthetic clips: several processes, crash-safe, goes on where it was left.

Clip i of a split has seed i, and shard k holds the clips from 256 k on, so that a store's clips and
their order depend on neither the number of processes nor on interruptions.
"""

import dataclasses
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from egodtm_robot.core.drawing.gl import select_backend
from egodtm_robot.core.errors import (
    ForeignStoreError,
    StoreExistsError,
    StoreNotFoundError,
)
from egodtm_robot.core.processes.dispatch import run_tasks
from egodtm_robot.core.processes.local import start_local
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.training.identity import without_later_defaults
from pretrain.clips.store import ClipStoreWriter
from pretrain.clips.synthetic.clips import (
    LICENCE,
    SOURCE,
    VERSION,
    Split,
    SyntheticClipConfig,
    render_clip,
)

SHARD_CLIPS = 256
"""Clips in each full shard."""

_BATCH = 32


def store_attributes(config: SyntheticClipConfig, split: Split) -> dict[str, Any]:
    """What identifies the clips of a store.

    Settings that came later are left out at their default: stores of before are gone on with.
    """
    return {
        "source": SOURCE,
        "version": VERSION,
        "split": split,
        "licence": LICENCE,
        **without_later_defaults(config),
    }


def generate(
    config: SyntheticClipConfig,
    split: Split,
    count: int,
    out: str | Path,
    workers: int = 2,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Fills a store up to ``count`` clips.

    Args:
        config: what clips.
        split: ``train``, ``validation`` or ``test``.
        count: clips that the store shall hold; it keeps what it has beyond that.
        out: folder of the store; made if missing.
        workers: processes, each drawing on one core; 0 draws in this one.
        on_progress: called with the number of clips there; by default a line on standard error.

    Returns:
        How many clips were drawn.

    Raises:
        ForeignStoreError: the store holds clips of another configuration or split.
        WorkerDiedError: worker processes died again and again.
        DiskSpaceError: the disk is full; what was committed is kept.
    """
    out = Path(out)
    wanted = store_attributes(config, split)
    have: dict[int, int] = {}
    for shard in range(-(-count // SHARD_CLIPS)):
        have[shard] = _open_shard(out, shard, wanted)
    limits = {shard: min(SHARD_CLIPS, count - shard * SHARD_CLIPS) for shard in have}
    done = already = sum(min(have[shard], limits[shard]) for shard in have)
    if done == count:
        return 0
    report: Callable[[int], None] = on_progress or Progress("clips", count, start=done)
    waiting = deque(
        _Job(config, split, str(out), shard, have[shard], limits[shard])
        for shard in have
        if have[shard] < limits[shard]
    )
    with start_local(_start_worker, workers, name="generate") as executor:
        for job, drawn in run_tasks(executor, waiting, describe=_Job.describe):
            done += drawn
            report(done)
            job = dataclasses.replace(job, have=job.have + drawn)
            if job.have < job.limit:
                # A shard that was begun is filled before the next one.
                waiting.appendleft(job)
    return done - already


@dataclasses.dataclass(frozen=True)
class _Job:
    """A shard that is to be filled up."""

    config: SyntheticClipConfig
    split: Split
    out: str
    shard: int
    have: int
    limit: int

    def describe(self) -> str:
        """The clips that are drawn next."""
        return f"clips from {self.have} on of shard {self.shard} of {self.out}"


def _open_shard(out: Path, shard: int, wanted: dict[str, Any]) -> int:
    """How many clips a shard holds; 0 if it is not there yet."""
    try:
        with ClipStoreWriter.open(out, shard=shard) as writer:
            stored, clips = writer.attributes, len(writer)
    except StoreNotFoundError:
        return 0
    names = [*wanted, *(field.name for field in dataclasses.fields(SyntheticClipConfig))]
    differing = [name for name in dict.fromkeys(names) if stored.get(name) != wanted.get(name)]
    if differing:
        raise ForeignStoreError(
            "Expected clips with "
            + ", ".join(f"{name} {wanted.get(name)!r}" for name in differing)
            + f", but {out} holds clips with "
            + ", ".join(f"{name} {stored.get(name)!r}" for name in differing)
            + ". Choose another path, or ask for what it holds."
        )
    return clips


def _fill(job: _Job) -> int:
    """Draws and commits the next clips of a shard; by how many it grew.

    Another run may be filling the same shard, with the same clips. Whoever draws a piece first
    commits it; the other one's is dropped.
    """
    first = job.shard * SHARD_CLIPS + job.have
    count = min(_BATCH, job.limit - job.have)
    clips = [render_clip(job.config, job.split, first + index) for index in range(count)]
    with _writer(job) as writer:
        grown = min(len(writer), job.limit) - job.have
        if grown > 0:
            return grown
        writer.append(clips)
    return count


def _writer(job: _Job) -> ClipStoreWriter:
    try:
        return ClipStoreWriter.open(job.out, shard=job.shard)
    except StoreNotFoundError:
        attributes = store_attributes(job.config, job.split)
        try:
            return ClipStoreWriter.create(
                job.out, attributes, shard=job.shard, dense=job.config.dense
            )
        except StoreExistsError:  # by another run, just now
            return ClipStoreWriter.open(job.out, shard=job.shard)


def _start_worker() -> Callable[[_Job], int]:
    select_backend()
    return _fill
