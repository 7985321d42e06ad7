"""An evaluation from its configuration to its results."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from egodtm_robot.core.configuration import OutputFolder, Threads
from egodtm_robot.core.errors import ConfigurationError, ResumeMismatchError
from egodtm_robot.core.intervals import Estimate
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.run_folder import (
    RESULTS_FILE,
    json_values,
    package_versions,
    write_results,
)
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.checkpoints.shipped import SHIPPED_NAME
from pretrain.clips.splits import HeldOutConfig, make_held_out, open_held_out
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.loader import LoaderConfig
from pretrain.evaluate.measuring import measure_tasks
from pretrain.evaluate.model import VideoTextModel, make_video_text_model
from pretrain.evaluate.outcomes import outcomes_file, write_outcomes
from pretrain.evaluate.registry import make_tasks
from pretrain.evaluate.tables import interval_lines
from pretrain.evaluate.task import EvaluationTask, Record, Scores, TooFewError
from pretrain.learning.accelerator import make_accelerator
from pretrain.learning.training_config import TrainingConfig

RECORDS = "records"
_IDENTITY = "identity.json"
_VERSIONED = ("torch", "accelerate", "numpy", "mujoco", "zarr", "hydra-core")


@dataclass
class EvaluateConfig:
    """The evaluation command's configuration."""

    checkpoint: str = SHIPPED_NAME
    """Weights of ``video_text_model=egodtm``: ``egodtm_tiny`` for the checkpoint that comes with
    the package, or a path of one that ``pretrain/run.py`` or ``pretrain.export`` wrote."""

    video_text_model: dict[str, Any] = field(default_factory=dict)
    """The model that is measured: ``egodtm``; a published one of ``avion``, ``clip``, ``egovlp``,
    ``egovlpv2``, ``lavila`` and ``siglip2``; or ``custom`` with ``video_text_model._target_``, the
    import path of a class of your own."""

    tasks: Any = "all"
    """Tasks to measure: a list of names of ``configs/evaluation_task``, import paths or mappings
    with ``_target_``; ``all`` takes every task there that the model and the clips have what it
    takes for."""

    data: HeldOutConfig = field(default_factory=HeldOutConfig)
    """Clips to measure on."""

    loader: LoaderConfig = field(default_factory=LoaderConfig)
    """How they are shown: ``loader=default``, or what a published pipeline does, such as
    ``egovlp``, ``lavila`` or ``avion``."""

    cache: OutputFolder | None = "runs/evaluate/embeddings"
    """Folder that embeddings are kept in, by the fingerprints of models and clips; null keeps
    none."""

    device: str = "auto"
    """``auto`` takes GPUs if there are any, ``cpu`` does not."""

    threads: Threads | None = None
    """CPU threads; null shares the cores among the processes of a machine, unless OMP_NUM_THREADS
    says otherwise."""

    run_dir: OutputFolder | None = None
    """Folder of records and results; null names it by the fingerprints of model and clips below
    ``runs/evaluate``, so that an interrupted evaluation goes on and a second one adds tasks."""


@dataclass
class EvaluationResults:
    """The content of an evaluation's ``results.json``; every field is plain JSON.

    Attributes:
        model: ``name`` and ``fingerprint``.
        data: where the clips come from; ``selection`` is the fingerprint of the clips alone, and
            ``shown`` that of the clips as the loader and the model's sizes show them.
        loader: its settings.
        clips: how many there are.
        tasks: for each task its ``headline`` (name, value, low, high), ``numbers`` (each value, low
            and high), ``facts``, ``items``, ``outcomes``, the file of its rows (None without any),
            and the task's ``version`` and ``options``.
        skipped: for each task of ``all`` that was not measured what it lacked.
        seconds: wall time of this start; records of an earlier one are not measured again.
        versions: of the packages that decide the outcome.
    """

    model: dict[str, str]
    data: dict[str, Any]
    loader: dict[str, Any]
    clips: int
    tasks: dict[str, dict[str, Any]]
    skipped: dict[str, str]
    seconds: float
    versions: dict[str, str]
    schema_version: int = 1


def evaluate(config: EvaluateConfig) -> tuple[EvaluationResults, Path]:
    """Measure a model, or what is left to measure.

    Returns:
        The results, the same in all processes, and the run's folder.

    Raises:
        ConfigurationError: a task or a model can't be made, or a task that was asked for by name
            lacks something.
        ResumeMismatchError: the run's folder holds measurements of something else.
        EgoDTMRobotError: see the parts.
    """
    began = time.perf_counter()
    tasks = make_tasks(config.tasks)
    accelerator = make_accelerator(TrainingConfig(threads=config.threads), config.device)
    # The group's file takes its checkpoint from the command's configuration; code need not name it.
    egodtm = {"_target_": "pretrain.evaluate.egodtm.load_egodtm", "checkpoint": config.checkpoint}
    model = make_video_text_model(config.video_text_model or egodtm)
    _check_model(config, model, tasks)
    model.to(accelerator.device)
    if accelerator.is_main_process:
        make_held_out(config.data)
    accelerator.wait_for_everyone()
    part = open_held_out(config.data)
    data = EvaluationClips(
        part.store,
        part.clips,
        resolution=model.resolution,
        frames=model.frames,
        loader=config.loader,
        cache=None if config.cache is None else Path(config.cache),
        processes=accelerator.num_processes,
    )
    lacking = {task.name: task.lacks(model, data) for task in tasks}
    skipped = {name: lack for name, lack in lacking.items() if lack is not None}
    _refuse_lacking(config, skipped, len(tasks), model, ", ".join(map(str, part.store.paths)))
    tasks = [task for task in tasks if task.name not in skipped]

    run_dir = _run_dir(config, model, data)
    if accelerator.is_main_process:
        _claim(run_dir, model, data, tasks)
    accelerator.wait_for_everyone()
    progress = Progress("evaluate", len(data)) if accelerator.is_main_process else None

    def on_piece(done: int, pieces: int) -> None:
        if progress is not None:
            progress(done * len(data) // pieces)

    records = measure_tasks(model, tasks, data, accelerator, run_dir / RECORDS, on_piece)
    scores, too_few = _scores(config, tasks, records)
    skipped |= too_few
    results = EvaluationResults(
        model={"name": model.name, "fingerprint": model.fingerprint},
        data={**part.description, "selection": data.selection, "shown": data.fingerprint},
        loader=asdict(config.loader),
        clips=len(data),
        tasks={
            task.name: _plain(task, scores[task.name], len(records[task.name]))
            for task in tasks
            if task.name in scores
        },
        skipped=skipped,
        seconds=round(time.perf_counter() - began, 3),
        versions=package_versions(_VERSIONED),
    )
    if accelerator.is_main_process:
        write_outcomes(run_dir, scores)
        write_results(run_dir, asdict(results))
    accelerator.wait_for_everyone()
    return results, run_dir


def describe(results: EvaluationResults, run_dir: Path) -> str:
    """The evaluation in words: the lines that a person sees."""
    lines = ["", f"{results.model['name']} on {results.clips} clips:"]
    lines += [f"  {line}" for line in interval_lines(results.tasks)]
    lines += [
        f"  {name} was not measured: it needs {lack}" for name, lack in results.skipped.items()
    ]
    lines += [f"  {results.seconds:.0f} s", f"  {run_dir / RESULTS_FILE}"]
    written = [found["outcomes"] for found in results.tasks.values() if found["outcomes"]]
    lines += [f"  {run_dir / path}" for path in written]
    return "\n".join(lines)


def _check_model(
    config: EvaluateConfig, model: VideoTextModel, tasks: Sequence[EvaluationTask]
) -> None:
    """Refuse a model that can't do what is asked, before clips are drawn.

    Raises:
        ConfigurationError: it lacks something for a task, or takes fewer frames than the loader
            shows.
    """
    lacking = {task.name: task.lacks_of_model(model) for task in tasks}
    skipped = {name: lack for name, lack in lacking.items() if lack is not None}
    _refuse_lacking(config, skipped, len(tasks), model, "any clips")
    frames = config.loader.frames
    if frames is not None and model.frames is not None and frames > model.frames:
        raise ConfigurationError(
            f"Expected at most {model.frames} frames of a loader for {model.name}, got {frames} "
            f"of loader={config.loader.name}. Set loader.frames={model.frames}."
        )


def _refuse_lacking(
    config: EvaluateConfig,
    skipped: Mapping[str, str],
    tasks: int,
    model: VideoTextModel,
    where: str,
) -> None:
    if skipped and (config.tasks != "all" or len(skipped) == tasks):
        name, lack = next(iter(skipped.items()))
        raise ConfigurationError(
            f"Expected {lack} for the task {name}, got {model.name} on {where}. Leave the task out "
            "of tasks."
        )


def _scores(
    config: EvaluateConfig,
    tasks: Sequence[EvaluationTask],
    records: Mapping[str, Sequence[Record]],
) -> tuple[dict[str, Scores], dict[str, str]]:
    """What each task found, and what those lack that say nothing.

    Raises:
        TooFewError: there is too little to ask for a task that was named, or for every one.
        EvaluationDataError: see the tasks.
    """
    scores: dict[str, Scores] = {}
    lacking: dict[str, str] = {}
    refusal: TooFewError | None = None
    for task in tasks:
        try:
            found = task.score(records[task.name])
        except TooFewError as error:
            if config.tasks != "all":
                raise
            lacking[task.name], refusal = error.needed, error
            continue
        if found is None:
            lacking[task.name] = "clips that it can ask about"
        else:
            scores[task.name] = found
    if refusal is not None and not scores:
        raise refusal
    return scores, lacking


def _run_dir(config: EvaluateConfig, model: VideoTextModel, data: EvaluationClips) -> Path:
    if config.run_dir is not None:
        return Path(config.run_dir)
    return Path("runs", "evaluate", f"{model.name}-{model.fingerprint[:8]}", data.fingerprint[:8])


def _claim(
    run_dir: Path, model: VideoTextModel, data: EvaluationClips, tasks: Sequence[EvaluationTask]
) -> None:
    """Write down what the records are of, or check that those there are of the same.

    Raises:
        ResumeMismatchError: they are of another model, other clips, another loader or other options
            of a task.
    """
    own: dict[str, Any] = {
        "model": model.fingerprint,
        "data": data.fingerprint,
        "selection": data.selection,
        "loader": data.loader.settings,
        "tasks": {task.name: {"version": task.version, **task.options} for task in tasks},
    }
    path = run_dir / RECORDS / _IDENTITY
    if path.is_file():
        stored = json.loads(path.read_text())
        differing = ["model"] if stored["model"] != own["model"] else []
        if stored["data"] != own["data"]:
            settings = stored.get("loader", own["loader"])
            changed = [f"loader.{n}" for n, v in own["loader"].items() if settings.get(n, v) != v]
            same = stored.get("selection") == own["selection"]
            differing += changed if same and changed else ["data"]
        differing += [
            f"task {name}"
            for name, options in own["tasks"].items()
            # As JSON has it, since that is what was stored.
            if stored["tasks"].get(name, options) != json.loads(json.dumps(options))
        ]
        if differing:
            raise ResumeMismatchError(
                f"Expected {run_dir} to hold measurements of the same model, clips and tasks; "
                f"{', '.join(differing)} differ. Choose another run_dir, or remove this one."
            )
        own["tasks"] = stored["tasks"] | own["tasks"]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(own, indent=2).encode())


def _plain(task: EvaluationTask, scores: Scores, items: int) -> dict[str, Any]:
    def estimate(one: Estimate) -> dict[str, float]:
        return {"value": one.value, "low": one.interval.low, "high": one.interval.high}

    values: dict[str, Any] = json_values(
        {
            "headline": {"name": task.headline, **estimate(scores.headline)},
            "numbers": {name: estimate(one) for name, one in scores.numbers.items()},
            "facts": dict(scores.facts),
            "items": items,
            "outcomes": outcomes_file(task.name) if scores.outcomes else None,
            "version": task.version,
            "options": dict(task.options),
        }
    )
    return values
