"""Fills a store with synthetic clips: several processes, crash-safe, goes on where it was left.

Clip i of a split has seed i, and shard k holds the clips from 256 k on, so that a store's clips and
their order depend on neither the number of processes nor on interruptions.
"""

import dataclasses
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_sentinel
from pathlib import Path
from typing import Any

from egodtm_robot.core.errors import (
    EgoDTMRobotError,
    ForeignStoreError,
    StoreExistsError,
    StoreNotFoundError,
)
from egodtm_robot.core.gl import select_backend
from egodtm_robot.core.progress import Progress
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


class ClipGenerationError(EgoDTMRobotError, RuntimeError):
    """A process that draws clips died."""


def store_attributes(config: SyntheticClipConfig, split: Split) -> dict[str, Any]:
    """What identifies the clips of a store."""
    return {
        "source": SOURCE,
        "version": VERSION,
        "split": split,
        "licence": LICENCE,
        **dataclasses.asdict(config),
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
        ClipGenerationError: a worker process died.
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
    jobs = [
        _Job(config, split, str(out), shard, have[shard], limits[shard])
        for shard in have
        if have[shard] < limits[shard]
    ]
    if workers == 0:
        for job in jobs:
            while job.have < job.limit:
                drawn = _fill(job)
                job = dataclasses.replace(job, have=job.have + drawn)
                done += drawn
                report(done)
        return done - already
    # spawn: a forked child would inherit OpenGL contexts and threads that it cannot use.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker)
    try:
        pending: dict[Future[int], _Job] = {}
        waiting = list(reversed(jobs))
        while waiting or pending:
            while waiting and len(pending) < 2 * workers:
                job = waiting.pop()
                pending[pool.submit(_fill, job)] = job
            finished, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                job = pending.pop(future)
                drawn = future.result()
                done += drawn
                report(done)
                job = dataclasses.replace(job, have=job.have + drawn)
                if job.have < job.limit:
                    waiting.append(job)
    except BrokenProcessPool as error:
        raise ClipGenerationError(
            f"Expected {workers} processes to draw clips; one died (killed, or out of memory). "
            f"The {done} clips committed are safe: run the same command again to go on."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
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


def _open_shard(out: Path, shard: int, wanted: dict[str, Any]) -> int:
    """How many clips a shard holds; 0 if it is not there yet."""
    try:
        with ClipStoreWriter.open(out, shard=shard) as writer:
            stored, clips = writer.attributes, len(writer)
    except StoreNotFoundError:
        return 0
    differing = [name for name in wanted if stored.get(name) != wanted[name]]
    if differing:
        raise ForeignStoreError(
            "Expected clips with "
            + ", ".join(f"{name} {wanted[name]!r}" for name in differing)
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
            return ClipStoreWriter.create(job.out, attributes, shard=job.shard)
        except StoreExistsError:  # by another run, just now
            return ClipStoreWriter.open(job.out, shard=job.shard)


def _start_worker() -> None:
    # Two drawing processes on two cores: more threads would only wait for one another.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    select_backend()
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """Ends this worker with the main process: an executor's workers outlive a killed one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_sentinel([parent.sentinel])
        os._exit(1)
