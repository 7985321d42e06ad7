"""Prepares clips: ``python -m pretrain.prepare source=folder source.videos=videos out=clips/mine``.

From annotated video to a clip store with depth, hands, objects, tracks and enriched captions. Run
the same command again to go on after whatever stopped it, with another model or prompt to have only
what depends on it made again, or with ``stages=[captions]`` to have that stage made again alone.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration import with_clean_errors
    from egodtm_robot.core.configuration.startup import prepare_command
    from pretrain.annotate.errors import require_package

    prepare_command()
    with_clean_errors(lambda: require_package("av", "av", "python -m pretrain.prepare"))

import csv
import json
import math
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from egodtm_robot.core.configuration import OutputFolder, PositiveInt, command
from egodtm_robot.core.errors import ConfigurationError, DatasetError, StoreExistsError
from egodtm_robot.core.processes.runner import LOCAL_RUNNER, make_runner
from egodtm_robot.core.storage import check_free_space
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.core.storage.locking import FileLock
from pretrain.annotate.registry import check_annotator, is_enabled
from pretrain.annotate.stage import STAGES, Stage
from pretrain.clips.sources.registry import make_source
from pretrain.clips.spans import DecodingConfig, frame_size
from pretrain.preparation.assembly import read_assembled
from pretrain.preparation.plan import FOLDER, Plan, make_plan, remove_shards_beyond
from pretrain.preparation.preparation_report import describe, make_report
from pretrain.preparation.scheduler import Choice, Scheduler
from pretrain.preparation.stage_progress import StageProgress
from pretrain.preparation.tasks import StageWorker, worker_groups
from pretrain.preparation.work import WorkContext

Choosable = Literal["decode", Stage]
"""What ``stages`` may name."""

_COMPRESSION = 0.9
"""Bytes of frames in the store for one of raw frames, at most: decoded video is noisy."""


@dataclass
class PrepareConfig:
    """The preparation's configuration."""

    out: OutputFolder = "???"
    """Folder of the clip store; goes on there if it exists."""

    source: dict[str, Any] = field(default_factory=dict)
    """The annotations; a name of ``configs/source`` or an import path in ``_target_``."""

    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    """How clips are cut out of videos."""

    depth: dict[str, Any] = field(default_factory=dict)
    """The depth annotator; ``none`` leaves the depth that the source brings along."""

    hands_objects: dict[str, Any] = field(default_factory=dict)
    """The detector of hands and objects, or ``none``."""

    tracking: dict[str, Any] = field(default_factory=dict)
    """What links detections, or ``none``: each is a track of its own then."""

    captions: dict[str, Any] = field(default_factory=dict)
    """What writes enriched captions, or ``none``: the narration is the caption then."""

    runner: dict[str, Any] = field(default_factory=lambda: dict(LOCAL_RUNNER))
    """Where the work is done: a name of ``configs/runner`` (``local`` or ``ray``), or an import
    path in ``_target_``."""

    in_flight: PositiveInt | None = None
    """Shards between their first stage and their last, at most: what bounds the disk that decoded
    frames take in between. Null for two a worker."""

    stages: list[Choosable] | None = None
    """Stages that may run, such as ``[captions]``; the files of the others are taken as they are,
    whatever their configuration here says. Null runs all that is missing or out of date."""

    shard_clips: PositiveInt = 64
    """Clips a shard: what a worker does at a time, and repeats if it is killed. The store numbers
    10,000 shards at most."""

    limit: PositiveInt | None = None
    """Prepare only the first so many clips, to try things out; a later run may have more."""

    retry_failed: bool = False
    """Whether stages with failures are tried again, as after a network drive was away."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: an option has no value, or a chosen stage no annotator.
        """
        make_runner(self.runner)
        for stage in STAGES:
            config = getattr(self, stage)
            if self.stages is not None and stage not in self.stages:
                continue
            if self.stages is not None and not is_enabled(config):
                raise ConfigurationError(
                    f"Expected an annotator for stages=[{stage}], got {stage}=none. Choose one "
                    f"with {stage}=NAME."
                )
            if is_enabled(config):
                check_annotator(stage, config)


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Prepare what is missing.

    Args:
        config: what, from where, and how.

    Returns:
        The report, also in ``.prepare/report.json`` of the store.

    Raises:
        AnnotationFileError: the source's annotations cannot be read.
        ForeignStoreError: ``out`` was prepared from another source.
        StoreExistsError: something else lies there.
        StoreLockedError: another process is preparing there.
        DiskSpaceError: the disk is full, or has less room than the clips will take.
        WorkerDiedError: workers kept dying.
        EgoDTMRobotError: see the parts.
    """
    out = Path(config.out)
    _check_free_path(out)
    with _locked(out):
        plan = make_plan(
            make_source(config.source),
            config.source,
            out,
            config.shard_clips,
            config.limit,
        )
        remove_shards_beyond(plan, out)
        stages = _stages(config, plan.folder)
        chosen = frozenset(stages if config.stages is None else config.stages)
        context = WorkContext(out, config.decoding, {one: getattr(config, one) for one in STAGES})
        runner = make_runner(config.runner)
        groups = worker_groups(tuple(stage for stage in stages if stage in chosen))
        workers = runner.worker_count(groups)
        choice = Choice(
            stages=stages,
            chosen=chosen,
            retries=runner.retries,
            in_flight=config.in_flight or 2 * workers,
            retry_failed=config.retry_failed,
        )
        _check_disk(config, plan, out, choice.in_flight)
        began = time.perf_counter()
        progress = StageProgress((*stages, "assemble"), plan.clips, workers)
        try:
            with runner.start(partial(StageWorker, context), groups) as executor:
                jobs = Scheduler(plan, choice, context, executor, progress).run()
        finally:
            progress.finish()
        report = make_report(plan, out, stages)
    return {**report, "jobs": jobs, "seconds": round(time.perf_counter() - began, 3)}


def _locked(out: Path) -> FileLock:
    lock = FileLock(out / FOLDER / "lock", f"the preparation of {out}")
    lock.acquire(0)
    return lock


def _check_free_path(out: Path) -> None:
    """Refuse a folder that holds something else, before anything is written there."""
    if out.exists() and not out.is_dir():
        raise StoreExistsError(f"Expected a folder for the clip store, but {out} is a file.")
    if out.is_dir() and not (out / FOLDER).is_dir() and any(out.iterdir()):
        raise StoreExistsError(
            f"Expected a new folder, or one that this command made, but {out} holds other things. "
            "Choose another path for out."
        )


def _stages(config: PrepareConfig, folder: Path) -> tuple[str, ...]:
    """Stages that enter the store: those with an annotator, or what an earlier run had."""
    file = folder / "stages.json"
    enabled = {stage for stage in STAGES if is_enabled(getattr(config, stage))}
    if config.stages is not None:
        before = json.loads(file.read_text()) if file.is_file() else []
        enabled = {*before, *config.stages} - {"decode"}
    stages = tuple(stage for stage in STAGES if stage in enabled)
    write_atomically(file, json.dumps(list(stages)).encode())
    return ("decode", *stages)


def _check_disk(config: PrepareConfig, plan: Plan, out: Path, in_flight: int) -> None:
    """Refuse to begin what the disk cannot hold."""
    missing = sum(shard.clips for shard in plan.shards if read_assembled(out, shard.number) is None)
    decoding = config.decoding
    raw = decoding.frames * 3 * math.prod(frame_size(decoding.resolution, decoding.aspect))
    # Maps are kept twice, in the stage's file and in the store: float32, then 16 bit and validity.
    maps = decoding.frames * 8 * math.prod(frame_size(decoding.depth_size, decoding.aspect))
    waiting = min(missing, in_flight * plan.shard_clips)
    check_free_space(out, int(missing * (raw * _COMPRESSION + maps) + waiting * raw))


@command(PrepareConfig, "prepare")
def main(config: PrepareConfig) -> None:
    """Prepares what is missing and says what came of it."""
    report = prepare(config)
    print(describe(report))
    folder = Path(config.out, FOLDER)
    if report["failures"]:
        print(f"  reasons of the failures: {folder / 'failures.csv'}")
    if report["jobs"]:
        print(f"{config.out}: {report['clips_out']} clips after {report['seconds']:.0f} s")
    else:
        print(f"{config.out}: {report['clips_out']} clips, nothing was to be done")
    if report["failures"] and not report["clips_out"]:
        with open(folder / "failures.csv", newline="") as file:
            first = next(csv.DictReader(file))
        raise DatasetError(
            f"Expected at least one clip of {report['clips_in']} in {config.out}, got none. The "
            f"first, {first['key']}, failed in {first['stage']}: {first['reason']}"
        )


if __name__ == "__main__":
    main()
