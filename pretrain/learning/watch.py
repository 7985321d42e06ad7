"""Looking at a model on held-out clips while it is trained and afterwards."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image

from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.clips.splits import Part, Splits
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.egodtm import EgoDTMModel
from pretrain.evaluate.measuring import measure_tasks
from pretrain.evaluate.outcomes import write_outcomes
from pretrain.evaluate.plots import curve_sheet
from pretrain.evaluate.registry import make_tasks
from pretrain.evaluate.task import EvaluationTask, Scores
from pretrain.learning.configuration import PretrainConfig
from pretrain.learning.results import own_names
from pretrain.learning.trainer import last_saved_step
from pretrain.model import EgoDTM

CURVES = "curves.png"

_TAKEN = (*own_names(), "clips", "score")


def watched_tasks(config: PretrainConfig) -> list[EvaluationTask]:
    """The evaluation tasks of a configuration.

    Raises:
        ConfigurationError: a task can't be made, or ``best_by`` names one that is not measured.
        UnknownNameError: there is no such task, or no such option.
    """
    tasks = make_tasks(config.tasks)
    names = [task.name for task in tasks]
    if not set(config.best_by) <= set(names) or set(names) & set(_TAKEN):
        raise ConfigurationError(
            f"Expected best_by to name some of the tasks {', '.join(names)}, none of which may be "
            f"called {', '.join(_TAKEN)}; got {config.best_by}."
        )
    return tasks


class Watch:
    """Measures a model's evaluation tasks in all processes; the main one writes and draws.

    Args:
        config: of the run.
        tasks: of :func:`watched_tasks`.
        splits: its clips.
        accelerator: of all processes.
        run_dir: folder of the run.
    """

    def __init__(
        self,
        config: PretrainConfig,
        tasks: Sequence[EvaluationTask],
        splits: Splits,
        accelerator: Accelerator,
        run_dir: Path,
    ) -> None:
        self.objective = config.objective
        self.accelerator = accelerator
        self.run_dir = run_dir
        self.tasks = tasks
        self.best_by = config.best_by
        resolution = config.model.vision.image_size
        self._clips: dict[str, EvaluationClips] = {}
        for name, part in (("validation", splits.validation), ("test", splits.test)):
            self._clips[name] = self._shown(part, resolution)
        training = self._shown(splits.train, resolution)
        for task in self.tasks:
            task.prepare(training)
        self.writer: Any = None
        if accelerator.is_main_process:
            # Imported here: it takes a second that other processes need not wait.
            from torch.utils.tensorboard import SummaryWriter

            # Events of steps that a killed run took after its last state come again.
            step = last_saved_step(run_dir / "checkpoints")
            self.writer = SummaryWriter(str(run_dir / "events"), purge_step=step and step + 1)

    def validate(self, model: EgoDTM, step: int) -> dict[str, Any]:
        """Scores on the validation clips, written to the curves.

        Returns:
            Plain JSON: ``clips``, the scores of each task by its name (None where there is nothing
            to measure), and ``score``, the mean headline of the tasks of ``best_by``, or the step
            where none of them is measured.
        """
        seen, data = self._seen(model), self._clips["validation"]
        scores = self._measure(seen, data)
        headlines = [
            found.headline.value
            for name, found in scores.items()
            if found is not None and name in self.best_by
        ]
        values = {
            "clips": len(data),
            **plain_scores(scores),
            # Of weights that nothing measures, such as a dense head's alone, the last are kept.
            "score": float(np.mean(headlines)) if headlines else float(step),
        }
        if self.writer is not None:
            for name, value in _flat(values):
                self.writer.add_scalar(f"validation/{name}", value, step)
            for name, picture in self._pictures(seen, data).items():
                self.writer.add_image(f"validation/{name}", picture, step, dataformats="HWC")
            self.writer.flush()
        return values

    def test(self, model: EgoDTM) -> dict[str, dict[str, Any] | None]:
        """The scores of each task on the test clips; leaves outcomes and pictures in the folder."""
        seen, data = self._seen(model), self._clips["test"]
        scores = self._measure(seen, data)
        if self.accelerator.is_main_process:
            write_outcomes(self.run_dir, scores)
            for name, picture in self._pictures(seen, data).items():
                _write_picture(self.run_dir / f"{name}.png", picture)
        return plain_scores(scores)

    def draw_curves(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Write the course of the losses and of the tasks' chosen numbers as a picture."""
        wanted = {f"{task.name}/{number}" for task in self.tasks for number in task.curves}
        curves: dict[str, list[tuple[float, float]]] = {}
        for entry in history:
            if "validation" in entry:
                named = [
                    (f"validation {name.replace('/', ' ')}", value)
                    for name, value in _flat(entry["validation"])
                    if name in wanted or name == "score"
                ]
            else:
                named = [(f"training {name}", v) for name, v in entry.items() if name != "step"]
            for name, value in named:
                curves.setdefault(name, []).append((entry["step"], value))
        if curves:
            _write_picture(self.run_dir / CURVES, curve_sheet(curves))

    def close(self) -> None:
        """Write out what TensorBoard has not yet."""
        if self.writer is not None:
            self.writer.close()

    def _shown(self, part: Part, resolution: int) -> EvaluationClips:
        return EvaluationClips(
            part.store,
            part.clips,
            resolution=resolution,
            processes=self.accelerator.num_processes,
        )

    def _seen(self, model: EgoDTM) -> EgoDTMModel:
        return EgoDTMModel(
            model,
            text=self.objective.text > 0,
            depth=self.objective.depth > 0,
            boxes=self.objective.region > 0,
        )

    def _measure(self, model: EgoDTMModel, data: EvaluationClips) -> dict[str, Scores | None]:
        able = [task for task in self.tasks if task.lacks(model, data) is None]
        # Heads alone have nothing that a task could measure.
        records = measure_tasks(model, able, data, self.accelerator) if able else {}
        return {
            task.name: task.score(records[task.name]) if task in able else None
            for task in self.tasks
        }

    def _pictures(self, model: EgoDTMModel, data: EvaluationClips) -> dict[str, np.ndarray]:
        drawn = {
            task.name: task.picture(model, data)
            for task in self.tasks
            if task.lacks(model, data) is None
        }
        return {name: picture for name, picture in drawn.items() if picture is not None}


def plain_scores(scores: Mapping[str, Scores | None]) -> dict[str, dict[str, Any] | None]:
    """Scores of tasks as plain JSON without intervals."""
    return {name: None if found is None else found.plain() for name, found in scores.items()}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Numbers of nested dictionaries, named by their paths."""
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)):
            found.append((f"{prefix}{name}", float(value)))
    return found


def _write_picture(path: Path, pixels: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())
