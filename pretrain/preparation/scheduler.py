"""Brings every shard through its stages: what is to be done next, by whom, and what if they die.

A shard goes through its stages one after the other, many shards at a time. A worker that is free
takes the shard that is farthest: so what was decoded is soon finished, and no more than
``in_flight`` shards wait between stages (frames that are decoded long before they are wanted would
fill the disk).

Whether a stage has to run is asked when a shard comes to it: its file is there and carries the
fingerprint of the annotator and of what the stages before have written, or it is made again. All
state is on the disk, so a run that was stopped anywhere goes on there.
"""

import dataclasses
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from egodtm_robot.core.errors import EgoDTMRobotError, WorkerDiedError
from egodtm_robot.core.processes.executor import Death, Executor, Raised
from pretrain.preparation.assembly import read_assembled, recover
from pretrain.preparation.plan import Plan, PlannedShard, fingerprint
from pretrain.preparation.stage_files import StageRecord, read_record, stage_path
from pretrain.preparation.tasks import Task
from pretrain.preparation.work import AnnotatorCard, Done, Job, WorkContext, keys_in_work

DECODE_VERSION = 2
ASSEMBLE_VERSION = 1
"""Of what is stored; another number has everything made again."""

DEATHS_OF_A_CLIP = 2
"""So often may a clip, handled alone, kill its worker; then it is a failure."""

_READ_NARRATIONS = ("hands_objects", "tracking", "captions")
"""Stages that read what is said of a clip."""


class MissingStageError(EgoDTMRobotError, RuntimeError):
    """A stage alone was asked for where those before it have not run."""


@dataclass(frozen=True)
class Choice:
    """What a run is to do.

    Attributes:
        stages: that enter the store, in order, decoding first.
        chosen: stages that may run; the files of the others are taken as they are.
        retries: deaths of workers on one shard that lead nowhere before the run stops.
        in_flight: shards between their first stage and their last, at most.
        retry_failed: whether stages that have failures are made again.
    """

    stages: tuple[str, ...]
    chosen: frozenset[str]
    retries: int
    in_flight: int
    retry_failed: bool = False


@dataclass
class _Shard:
    """Where a shard stands."""

    planned: PlannedShard
    position: int = 0
    identities: list[str] = field(default_factory=list)
    job: Job | None = None
    deaths: int = 0
    deaths_by_key: Counter[str] = field(default_factory=Counter)


class Scheduler:
    """Runs what is missing of a plan on the workers of an executor.

    Args:
        plan: all shards.
        choice: what is to be done.
        context: what jobs share.
        executor: who does it.
        observe: called with a stage, how many clips went through it, and the seconds that a worker
            was busy with them, None if they had gone through it before.
    """

    def __init__(
        self,
        plan: Plan,
        choice: Choice,
        context: WorkContext,
        executor: Executor[Task, Done | AnnotatorCard],
        observe: Callable[[str, int, float | None], None] | None = None,
    ) -> None:
        self._choice, self._context, self._executor = choice, context, executor
        self._observe = observe or (lambda stage, clips, seconds: None)
        self._sequence = (*choice.stages, "assemble")
        self._cards: dict[str, AnnotatorCard] = {}
        self._waiting = deque(_Shard(planned) for planned in plan.shards)
        self._ready: list[_Shard] = []
        self._busy: dict[int, _Shard] = {}

    def run(self) -> int:
        """Do all that is to be done.

        Returns:
            How many jobs that was; 0 if everything was there.

        Raises:
            WorkerDiedError: workers kept dying.
            MissingStageError: a stage that is not to run has not run before.
            DiskSpaceError: the disk is full.
            EgoDTMRobotError: what a worker could not do, and would not another time.
        """
        self._describe()
        for aside in (self._context.folder / "replaced").glob("shard_*"):
            recover(self._context.out, int(aside.name.removeprefix("shard_")))
        jobs = 0
        while True:
            while self._waiting and len(self._ready) + len(self._busy) < self._choice.in_flight:
                self._advance(self._waiting.popleft())
            self._assign()
            if not self._busy:
                assert not self._ready, "no worker may do what is left"
                return jobs
            for worker, outcome in self._executor.wait():
                shard = self._busy.pop(worker)
                if isinstance(outcome, Raised):
                    raise outcome.error
                if isinstance(outcome, Death):
                    self._mourn(shard, outcome)
                else:
                    answer = outcome.answer
                    assert isinstance(answer, Done)
                    self._observe(answer.stage, shard.planned.clips, answer.seconds)
                    jobs += 1
                    self._complete(shard, answer.identity)
                    self._advance(shard)

    def _describe(self) -> None:
        """Ask for the fingerprints of all annotators that may run, each of another worker."""
        asked = deque(s for s in self._choice.stages if s in self._choice.chosen and s != "decode")
        busy: dict[int, str] = {}
        loaded: Counter[int] = Counter()
        while asked or busy:
            free = [
                worker
                for worker, stages in enumerate(self._executor.kinds)
                if asked and asked[0] in stages and worker not in busy
            ]
            if free:
                worker = min(free, key=lambda one: loaded[one])
                busy[worker] = asked.popleft()
                loaded[worker] += 1
                self._executor.submit(worker, Task("describe", busy[worker]))
                continue
            for worker, outcome in self._executor.wait():
                stage = busy.pop(worker)
                if isinstance(outcome, Raised):
                    raise outcome.error
                if isinstance(outcome, Death):
                    raise WorkerDiedError(f"loading the annotator of {stage}", 1, outcome.reason)
                assert isinstance(outcome.answer, AnnotatorCard)
                self._cards[stage] = outcome.answer

    def _advance(self, shard: _Shard) -> None:
        """Pass over the stages that a shard has behind it; it is ready if one is left."""
        while shard.position < len(self._sequence):
            stage = self._sequence[shard.position]
            identity = self._identity_if_fresh(shard, stage)
            if identity is None:
                shard.job = Job(
                    stage,
                    shard.planned.number,
                    self._expected(shard, stage),
                    self._choice.stages[: shard.position],
                )
                self._ready.append(shard)
                return
            self._observe(stage, shard.planned.clips, None)
            self._complete(shard, identity)

    def _complete(self, shard: _Shard, identity: str) -> None:
        shard.identities.append(identity)
        shard.position += 1
        shard.deaths = 0

    def _identity_if_fresh(self, shard: _Shard, stage: str) -> str | None:
        """What a stage has written for a shard, by its identity; None if it has to run."""
        number = shard.planned.number
        if stage == "assemble":
            assembled = read_assembled(self._context.out, number)
            is_fresh = assembled and assembled.fingerprint == self._expected(shard, stage)
            return assembled.fingerprint if assembled and is_fresh else None
        record = read_record(stage_path(self._context.folder, stage, number))
        is_chosen = stage in self._choice.chosen
        if record is None:
            if not is_chosen:
                raise self._missing(stage, number, "has not run on it")
            return None
        if stage == "decode":
            if record.fingerprint != self._expected(shard, stage) or not self._has_frames(
                number, record
            ):
                if not is_chosen:
                    raise self._missing(stage, number, "ran on other clips, or its frames are gone")
                return None
        elif is_chosen and record.fingerprint != self._expected(shard, stage):
            return None
        if is_chosen and self._choice.retry_failed and record.failures:
            return None
        return record.identity

    def _has_frames(self, shard: int, record: StageRecord) -> bool:
        """Whether the frames that were moved into the store are still there."""
        if not record.keys_in_store:
            return True
        assembled = read_assembled(self._context.out, shard)
        return assembled is not None and assembled.decoded == record.identity

    def _expected(self, shard: _Shard, stage: str) -> str:
        """The fingerprint of a stage's output if it is made now."""
        planned = shard.planned
        if stage == "decode":
            options = dataclasses.asdict(self._context.decoding)
            del options["threads"]
            if options["aspect"] == 1:
                del options["aspect"]  # so that squares are what they were before it existed
            return fingerprint(stage, DECODE_VERSION, options, planned.spans)
        if stage == "assemble":
            said = [planned.labels, planned.narrations]
            return fingerprint(stage, ASSEMBLE_VERSION, shard.identities, said)
        narrations = planned.narrations if stage in _READ_NARRATIONS else None
        before = shard.identities[shard.position - 1]
        return fingerprint(stage, self._cards[stage].fingerprint, before, narrations)

    def _missing(self, stage: str, shard: int, what: str) -> MissingStageError:
        return MissingStageError(
            f"Expected the {stage} of shard {shard} to be there, for stages="
            f"[{','.join(s for s in self._choice.stages if s in self._choice.chosen)}] leaves it "
            f"as it is, but {stage} {what}. Run the command without stages= first."
        )

    def _assign(self) -> None:
        """Give the farthest shards to the workers that are free."""
        for worker, stages in enumerate(self._executor.kinds):
            if worker in self._busy:
                continue
            able = [one for one in self._ready if one.job is not None and one.job.stage in stages]
            if not able:
                continue
            shard = max(able, key=lambda one: (one.position, -one.planned.number))
            assert shard.job is not None
            self._ready.remove(shard)
            self._busy[worker] = shard
            self._executor.submit(worker, Task("run", shard.job))

    def _mourn(self, shard: _Shard, death: Death) -> None:
        """Have a shard done again after its worker died, clip by clip, without those to blame."""
        job = shard.job
        assert job is not None
        shard.deaths += 1
        keys = keys_in_work(self._context.folder, job)
        if len(keys) == 1:
            shard.deaths_by_key[keys[0]] += 1
            times = shard.deaths_by_key[keys[0]]
            if times >= DEATHS_OF_A_CLIP:
                reason = f"{times} workers died at this clip; the last one {death.reason}."
                job = dataclasses.replace(job, skip={**job.skip, keys[0]: reason})
                shard.deaths = 0
        if shard.deaths > self._choice.retries:
            where = f" at {', '.join(keys[:3])}" if keys else " before it came to a clip"
            work = f"{job.stage} of shard {job.shard}"
            raise WorkerDiedError(work, shard.deaths, f"{death.reason}{where}")
        shard.job = dataclasses.replace(job, one_by_one=True)
        self._ready.append(shard)
