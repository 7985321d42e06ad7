"""What a worker does: one stage of one shard at a time, from files to a file.

A worker knows nothing of the others. All it needs is in its :class:`WorkContext` and in the job;
what it makes lies on the disk before it answers. So the same code runs in this process, in a
process of a pool, and in an actor on another machine that sees the same folder.
"""

import contextlib
import errno
import json
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from egodtm_robot.core.errors import DiskSpaceError, EgoDTMRobotError
from pretrain.annotate.errors import AnnotatorRefusedError
from pretrain.annotate.registry import make_annotator
from pretrain.annotate.stage import AnnotationFailure, Annotator, Stage
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.sources.base import Failure
from pretrain.clips.spans import DecodingConfig
from pretrain.clips.store import shard_name
from pretrain.preparation.assembly import assemble
from pretrain.preparation.decode import decode_requests
from pretrain.preparation.plan import FOLDER, read_requests
from pretrain.preparation.shard_reader import ShardReader
from pretrain.preparation.stage_files import StageOutput, stage_path, write_stage
from pretrain.preparation.stage_numbers import stage_statistics

WorkStage = Literal["decode", Stage, "assemble"]
WORK_STAGES: tuple[WorkStage, ...] = ("decode", *get_args(Stage), "assemble")
"""Everything that is done to a shard, in this order."""

WRITES: dict[str, tuple[str, ...]] = {
    "decode": ("frames", "times", "depth", "depth_kind", "camera_pose", "extra"),
    "depth": ("depth", "depth_kind"),
    "hands_objects": ("detections",),
    "tracking": ("boxes", "masks"),
    "captions": ("caption", "distractors", "caption_report"),
}
"""Fields of a clip that each stage writes."""


class AnnotatorResultError(EgoDTMRobotError, ValueError):
    """An annotator gave something other than its stage's fields for each clip."""


@dataclass(frozen=True)
class WorkContext:
    """What all jobs of a preparation share; picklable.

    Attributes:
        out: folder of the clip store.
        decoding: how clips are cut out of videos.
        annotators: configuration of the annotator of each stage that is to run.
    """

    out: Path
    decoding: DecodingConfig
    annotators: dict[str, dict[str, Any]]

    @property
    def folder(self) -> Path:
        """Where the stages' files lie."""
        return self.out / FOLDER


@dataclass(frozen=True)
class Job:
    """One stage of one shard.

    Attributes:
        stage: which stage.
        shard: number of the shard.
        fingerprint: to be written with the result.
        before: stages whose files are read, in their order.
        one_by_one: whether clips are handled singly, after a worker died on some of them.
        skip: clips that killed workers, with the reason that is given for them.
    """

    stage: str
    shard: int
    fingerprint: str
    before: tuple[str, ...] = ()
    one_by_one: bool = False
    skip: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """What became of a job.

    Attributes:
        stage: which stage.
        shard: number of the shard.
        clips: that were looked at.
        failures: how many of them failed in this stage.
        seconds: it took.
        identity: of what was written.
    """

    stage: str
    shard: int
    clips: int
    failures: int
    seconds: float
    identity: str


@dataclass(frozen=True)
class AnnotatorCard:
    """What a stage's annotator says of itself.

    Attributes:
        stage: which stage.
        name: of the annotator.
        fingerprint: what is annotated by another one is annotated again.
    """

    stage: str
    name: str
    fingerprint: str


class _Clock:
    """Time since it was made."""

    def __init__(self) -> None:
        self._began, self._cpu_began = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Wall seconds."""
        return time.perf_counter() - self._began

    @property
    def cpu_seconds(self) -> float:
        """Seconds of all threads of this process on a core."""
        return time.process_time() - self._cpu_began


class Worker:
    """Does jobs. Annotators are made when a stage first needs them, and kept."""

    def __init__(self, context: WorkContext) -> None:
        self.context = context
        self._annotators: dict[str, Annotator] = {}
        self._reported: set[tuple[str, str]] = set()

    def describe(self, stage: str) -> AnnotatorCard:
        """Name and fingerprint of a stage's annotator.

        Raises:
            EgoDTMRobotError: it cannot be made.
        """
        annotator = self._annotator(stage)
        return AnnotatorCard(stage, annotator.name, annotator.fingerprint)

    def run(self, job: Job) -> Done:
        """Do a job; its result is on the disk when this returns.

        Raises:
            DiskSpaceError: the disk is full.
            CorruptStoreError: what an earlier stage wrote is damaged.
            EgoDTMRobotError: the annotator cannot be made, or does not keep to its contract.
        """
        try:
            if job.stage == "assemble":
                return self._assemble(job)
            return self._decode(job) if job.stage == "decode" else self._annotate(job)
        except OSError as error:
            if isinstance(error, EgoDTMRobotError) or error.errno not in (
                errno.ENOSPC,
                errno.EDQUOT,
            ):
                raise
            raise DiskSpaceError(
                error.errno,
                f"The disk is full: {job.stage} of {shard_name(job.shard)} was not written to "
                f"{self.context.out}. All that was written before is whole; make room and start "
                "the command again to go on.",
            ) from error
        finally:
            with contextlib.suppress(OSError):
                working_file(self.context.folder, job).unlink(missing_ok=True)

    def _decode(self, job: Job) -> Done:
        clock = _Clock()
        requests = [
            request
            for request in read_requests(self.context.folder, job.shard)
            if request.key not in job.skip
        ]
        found: dict[str, Mapping[str, Any]] = {}
        failures = dict(job.skip)
        groups = [[one] for one in requests] if job.one_by_one else [requests]
        for group in groups:
            self._note(job, [request.key for request in group])
            for result in decode_requests(group, self.context.decoding):
                if isinstance(result, Failure):
                    failures[result.key] = result.reason
                else:
                    found[result.key] = {name: getattr(result, name) for name in WRITES["decode"]}
        order = [request.key for request in requests if request.key in found]
        missing = {request.key for request in requests} - set(found) - set(failures)
        assert not missing, f"decoding gave no answer for {sorted(missing)[:3]}"
        return self._write(
            job, "pyav", {key: found[key] for key in order}, failures, len(requests), clock
        )

    def _annotate(self, job: Job) -> Done:
        annotator = self._annotator(job.stage)
        clock = _Clock()
        found: dict[str, Mapping[str, Any]] = {}
        failures: dict[str, str] = {}
        with ShardReader(self.context.out, job.shard, job.before) as reader:
            failures |= {key: reason for key, reason in job.skip.items() if key in reader.keys}
            keys = [key for key in reader.keys if key not in failures]
            for batch in _batches(keys, 1 if job.one_by_one else annotator.batch_size):
                clips = [reader.clip(key) for key in batch]
                self._note(job, batch)
                for key, result in zip(batch, self._results(annotator, clips), strict=True):
                    if isinstance(result, AnnotationFailure):
                        failures[key] = result.reason
                    else:
                        found[key] = result
        return self._write(job, annotator.name, found, failures, len(keys), clock)

    def _assemble(self, job: Job) -> Done:
        clock = _Clock()
        clips, failures = assemble(self.context.out, job.shard, job.before, job.fingerprint)
        return Done(job.stage, job.shard, clips, failures, clock.seconds, job.fingerprint)

    def _results(
        self, annotator: Annotator, clips: list[AnnotatedClip]
    ) -> list[Mapping[str, Any] | AnnotationFailure]:
        """The annotator's answers; where it raises, only the clips that cause it fail."""
        try:
            results = annotator.annotate(clips)
        except AnnotatorRefusedError:
            raise
        except Exception as error:
            if len(clips) > 1:
                return [one for clip in clips for one in self._results(annotator, [clip])]
            self._report(annotator.stage, error)
            return [AnnotationFailure(f"{type(error).__name__}: {error}")]
        if len(results) != len(clips):
            raise AnnotatorResultError(
                f"Expected {len(clips)} results of {annotator.stage} annotator {annotator.name!r}, "
                f"one a clip, got {len(results)}."
            )
        for result in results:
            if isinstance(result, AnnotationFailure):
                continue
            unknown = set(result) - set(WRITES[annotator.stage])
            if unknown:
                raise AnnotatorResultError(
                    f"Expected {', '.join(WRITES[annotator.stage])} of {annotator.stage} annotator "
                    f"{annotator.name!r}, got {', '.join(sorted(unknown))}."
                )
        return list(results)

    def _report(self, stage: str, error: Exception) -> None:
        """Print where an unexpected error came from, once for each kind of it."""
        kind = (stage, type(error).__name__)
        if kind not in self._reported:
            self._reported.add(kind)
            traceback.print_exception(error)

    def _write(
        self,
        job: Job,
        name: str,
        clips: dict[str, Mapping[str, Any]],
        failures: dict[str, str],
        looked_at: int,
        clock: _Clock,
    ) -> Done:
        statistics = stage_statistics(job.stage, clips)
        output = StageOutput(
            stage=job.stage,
            name=name,
            fingerprint=job.fingerprint,
            clips=clips,
            failures=failures,
            seconds=clock.seconds,
            cpu_seconds=clock.cpu_seconds,
            statistics=statistics,
        )
        write_stage(stage_path(self.context.folder, job.stage, job.shard), output)
        failed, identity = len(failures), output.identity
        return Done(job.stage, job.shard, looked_at, failed, clock.seconds, identity)

    def _annotator(self, stage: str) -> Annotator:
        if stage not in self._annotators:
            self._annotators[stage] = make_annotator(stage, self.context.annotators[stage])
        return self._annotators[stage]

    def _note(self, job: Job, keys: Sequence[str]) -> None:
        """Leave word of the clips in work, for the case that they kill this process."""
        file = working_file(self.context.folder, job)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(list(keys)))


def working_file(folder: Path, job: Job) -> Path:
    """Holds the keys of the clips that a job works on at this moment."""
    return folder / "working" / f"{job.stage}_{shard_name(job.shard)}.json"


def keys_in_work(folder: Path, job: Job) -> list[str]:
    """Keys that a worker was at when it died; none if it had not come to a clip."""
    try:
        keys: list[str] = json.loads(working_file(folder, job).read_text())
    except (OSError, ValueError):
        return []
    return keys


def _batches(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), max(1, size)):
        yield keys[start : start + max(1, size)]
