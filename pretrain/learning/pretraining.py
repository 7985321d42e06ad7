"""A pretraining from its configuration to its results."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from egodtm_robot.core.errors import DatasetError
from egodtm_robot.core.fingerprints import hash_tensors
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.run_folder import StageClock, claim_run_dir, is_finished, package_versions
from egodtm_robot.core.training.precision import say_if_emulated
from pretrain.checkpoints import load_checkpoint, start_from
from pretrain.clips.actions import action_of
from pretrain.clips.dataset import ClipDataset, SampleSpec
from pretrain.clips.nouns import named_things
from pretrain.clips.splits import Part, make_clips, open_splits
from pretrain.learning.accelerator import make_accelerator
from pretrain.learning.configuration import PretrainConfig
from pretrain.learning.results import PretrainResults
from pretrain.learning.teacher import Teacher, make_teacher_tokens, open_teacher_tokens
from pretrain.learning.trainer import BEST, LAST, Trainer
from pretrain.learning.training_config import image_steps
from pretrain.learning.watch import Watch, watched_tasks
from pretrain.losses.objective import depth_size
from pretrain.model import EgoDTM

_LOOKED_AT = 64
"""Clips that are read to see what a store holds."""

_VERSIONED = ("torch", "accelerate", "numpy", "mujoco", "zarr", "hydra-core")


def pretrain(config: PretrainConfig) -> tuple[PretrainResults | None, Path]:
    """Run the pretraining, or what is left of it.

    Returns:
        The results (None in processes beside the main one) and the run's folder. A run that is
        finished is returned as it is.

    Raises:
        ResumeMismatchError: the run's folder holds a run with other settings.
        TrainingDivergedError: the loss is no longer finite.
        EgoDTMRobotError: see the parts.
    """
    accelerator = make_accelerator(config.training, config.device)
    run_dir = config.folder
    if is_finished(run_dir, config):
        return PretrainResults.load(run_dir) if accelerator.is_main_process else None, run_dir
    # Everything that can be known is checked before anything is written or takes time: clips are
    # drawn for minutes.
    config.check_heads()
    watched = watched_tasks(config)
    if accelerator.is_main_process:
        say_if_emulated(config.training.precision, accelerator.device)
    model = EgoDTM(config.model, seed=config.seed)
    lacking: list[str] = []
    if config.initial is not None:
        report = _report if accelerator.is_main_process else None
        lacking = start_from(model, config.initial, report)
    spec = sample_spec(config)
    if config.data.kind == "store":
        check_training_clips(open_splits(config.data).train, spec)
    teacher = None
    if config.teacher is not None:
        teacher = Teacher(config.teacher, teacher_grid(config), accelerator.device)
    clock = None
    if accelerator.is_main_process:
        claim_run_dir(run_dir, config)
        clock = StageClock(run_dir)
        with clock("clips"):
            make_clips(config.data)
        if teacher is not None:
            with clock("teacher"):
                _compute_tokens(teacher, open_splits(config.data).train)
    accelerator.wait_for_everyone()
    splits = open_splits(config.data)
    tokens = None if teacher is None else open_teacher_tokens(teacher, splits.train.store)
    del teacher  # large, and has said everything

    train = ClipDataset(
        splits.train.store,
        spec,
        config.data.augmentation,
        config.seed,
        splits.train.clips,
        tokens,
    )
    watch = Watch(config, watched, splits, accelerator, run_dir)
    data = splits.description
    if tokens is not None:
        data = {**data, "teacher": tokens.description}
    provenance = {
        "data": data,
        "objective": dataclasses.asdict(config.objective),
        "training": dataclasses.asdict(config.training),
        "initial": None
        if config.initial is None
        else {
            "source": config.initial,
            "weights": hash_tensors(model.state_dict()),
            "drawn_by_seed": lacking,
        },
        "steps": config.steps,
        "seed": config.seed,
        "versions": package_versions(_VERSIONED),
    }
    trainer = Trainer(
        config.training,
        config.objective,
        model,
        train,
        run_dir / "checkpoints",
        steps=config.steps,
        seed=config.seed,
        accelerator=accelerator,
        provenance=provenance,
        validate=watch.validate,
        writer=watch.writer,
        progress=_ProgressLine(config) if accelerator.is_main_process else None,
    )
    if clock is None:
        trained = trainer.run()
    else:
        with clock("train"):
            trained = trainer.run()

    best, _ = load_checkpoint(run_dir / "checkpoints" / BEST)
    best.to(accelerator.device).eval()
    results = None
    if clock is None:
        watch.test(best)
    else:
        with clock("test"):
            tasks = watch.test(best)
            watch.draw_curves(trained.history)
        parts = {
            name: sum(parameter.numel() for parameter in part.parameters())
            for name, part in model.named_children()
        }
        results = PretrainResults(
            model=config.model.name,
            objective=config.objective.name,
            steps=config.steps,
            batch_size=config.training.batch_size,
            seed=config.seed,
            data=data,
            tasks=tasks,
            test_clips=len(splits.test.clips),
            best_step=trained.best_step,
            validation_score=trained.best_score,
            clips_per_s=trained.clips_per_s,
            loader_wait_fraction=trained.loader_wait_fraction,
            parameters={"total": sum(p.numel() for p in model.parameters()), **parts},
            checkpoints={"best": f"checkpoints/{BEST}", "last": f"checkpoints/{LAST}"},
            timings_s=clock.seconds,
            curves=trained.history,
            versions=package_versions(_VERSIONED),
            torch_threads=torch.get_num_threads(),
        )
        results.save(run_dir)
    watch.close()
    accelerator.wait_for_everyone()
    return results, run_dir


def sample_spec(config: PretrainConfig) -> SampleSpec:
    """What the objective needs of a training clip, at the sizes of the model."""
    side = config.model.vision.image_size
    objective = config.objective
    return SampleSpec(
        resolution=side,
        depth_size=depth_size(config.model, side) if objective.depth else None,
        boxes=objective.finds_regions or objective.finds_entities,
        text=objective.texts,
        negatives=objective.negatives if objective.text else 0,
        names=objective.most_names(config.model),
        actions=objective.positives == "action",
        teacher_grid=teacher_grid(config) if objective.distill else None,
        **_dense_spec(config),
    )


def _dense_spec(config: PretrainConfig) -> dict[str, Any]:
    vision, dense = config.model.vision, config.objective.dense
    if not config.objective.dense_truth:
        return {}
    rows = vision.image_size // vision.patch_size
    cells = rows * dense.cells
    return {
        "dense": config.objective.dense_truth,
        "dense_cells": (cells, cells),
        "dense_tokens": (rows, rows),
    }


def teacher_grid(config: PretrainConfig) -> tuple[int, int]:
    """Rows and columns of a teacher's tokens: those of the model's patches."""
    side = config.model.vision.image_size // config.model.vision.patch_size
    return (side, side)


def _compute_tokens(teacher: Teacher, part: Part) -> None:
    clips = int(part.clips.max()) + 1
    progress = Progress("teacher", clips)
    make_teacher_tokens(teacher, part.store, clips, progress)


def check_training_clips(part: Part, spec: SampleSpec) -> None:
    """Refuse clips that have nothing of what the objective learns from.

    A few clips from all over are read; clips may lack what others have.

    Raises:
        DatasetError: none of them has boxes, texts that name a thing in a box, or an action.
    """
    places = np.unique(np.linspace(0, len(part.clips) - 1, _LOOKED_AT).astype(np.int64))
    paths = ", ".join(str(path) for path in part.store.paths)

    def read(*fields: str) -> dict[str, list]:
        return part.store.read(part.clips[places], fields)

    def refuse(wanted: str, advice: str) -> DatasetError:
        return DatasetError(
            f"Expected clips with {wanted}, which the objective learns from, got none with any "
            f"among {len(places)} clips of {paths}. {advice}"
        )

    if spec.boxes and not any(map(len, read("boxes")["boxes"])):
        raise refuse(
            "boxes of hands and objects",
            "Prepare the clips with hands_objects=..., or choose objective=text or text_depth.",
        )
    if spec.names:
        text = "caption" if spec.text == "random" else spec.text
        found = read(text, "boxes")
        if not any(map(named_things, found[text], found["boxes"])):
            raise refuse(
                f"a {text} that names a thing in one of its boxes",
                "Set objective.region_names=0 objective.entity_names=0, or prepare boxes of things "
                "by the names that the texts give them.",
            )
    if spec.actions and not any(action_of(extra) for extra in read("extra")["extra"]):
        raise refuse(
            "an action",
            "Choose objective.positives=own, or clips of a source that labels verbs and nouns.",
        )


def _report(line: str) -> None:
    print(line, file=sys.stderr)


class _ProgressLine:
    """One line: clips trained on, a second, time left, loss, share of loader wait."""

    def __init__(self, config: PretrainConfig) -> None:
        self._config = config
        self._progress: Progress | None = None

    def __call__(self, step: int, note: str) -> None:
        if self._progress is None:
            # A resumed run's rate counts from where it went on.
            self._progress = Progress(
                "train", self._samples(self._config.steps), self._samples(step)
            )
        self._progress(self._samples(step), f"step {step}  {note}")

    def _samples(self, step: int) -> int:
        training = self._config.training
        images = min(step, image_steps(training, self._config.steps))
        return images * training.image_batch_size + (step - images) * training.batch_size
