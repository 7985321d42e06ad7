"""The pretraining command: ``python pretrain/run.py``, or ``python -m pretrain.run``.

Draws the synthetic clips that are missing (or opens the stores of ``data.path``), trains the model
on them, watches it on clips of other scenes, and measures the best checkpoint on clips of a third
set of scenes. Started again with the same settings, it goes on where it was stopped, whatever
stopped it, and ends with the same weights.
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    # Python has put this folder first; what lies in it would hide packages of the same names.
    if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        sys.path[0] = str(Path(__file__).resolve().parents[1])
    from egodtm_robot.core.startup import prepare_command

    prepare_command()

import dataclasses
import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from PIL import Image

from egodtm_robot.core.atomic_files import write_atomically
from egodtm_robot.core.configuration import NonNegativeInt, OutputFolder, Seed, command
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.fingerprints import hash_tensors
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.run_folder import StageClock, claim_run_dir, package_versions
from pretrain.checkpoints import load_checkpoint, start_from
from pretrain.clips.dataset import ClipDataset, Draw, SampleSpec, evaluation_batches
from pretrain.data import DataConfig, Part, Splits, make_clips, open_splits
from pretrain.evaluate.depth import mean_map
from pretrain.evaluate.held_out import Measured, depth_examples, measure, scores
from pretrain.evaluate.pictures import curve_sheet, depth_sheet
from pretrain.model import EgoDTM, EgoDTMConfig
from pretrain.objective import ObjectiveConfig, depth_size
from pretrain.training import (
    BEST,
    LAST,
    Trainer,
    TrainingConfig,
    TrainingResult,
    image_steps,
    last_saved_step,
    make_accelerator,
)

RESULTS_FILE = "results.json"
DEPTH_SHEET = "depth.png"
CURVES = "curves.png"

_VERSIONED = ("torch", "accelerate", "numpy", "mujoco", "zarr", "hydra-core")
_MAY_DIFFER = (
    "device", "run_dir", "  cache", "  workers", "  threads", "  compile", "  save_every",
    "  log_every",
)  # fmt: skip
"""How the work is spread and written down does not decide what comes of a run."""

_EXAMPLES = 8
"""Clips in a picture sheet of depth."""

_MEAN_MAP_CLIPS = 512
"""Training clips that the mean map is made of: it changes little with more."""

_EVALUATED_AT_ONCE = 32


@dataclass
class PretrainConfig:
    """The pretraining command's configuration."""

    model: EgoDTMConfig = field(default_factory=EgoDTMConfig)
    """What is trained: ``model=egodtm_tiny`` or ``egodtm_base``."""

    data: DataConfig = field(default_factory=DataConfig)
    """What on: ``data=synthetic``, or ``data=store`` with ``data.path``."""

    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """What for: ``objective=text``, ``depth``, ``region`` or ``text_depth``."""

    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How."""

    initial: str | None = None
    """Weights to start from: ``egodtm_tiny`` (the checkpoint that comes with the package), a path
    of one of ours or of a published one, or a hub id or folder of Hugging Face's CLIP; what they
    lack, and everything with null, is drawn by the seed. See pretrain/checkpoints/starting.py."""

    steps: NonNegativeInt = 240
    """Optimisation steps; 0 saves and measures the initial weights, a baseline."""

    seed: Seed = 0
    """Decides the initial weights, and the order and augmentation of clips."""

    device: str = "auto"
    """``auto`` takes GPUs if there are any, ``cpu`` does not."""

    run_dir: OutputFolder | None = None
    """Folder of the run; null names it by its choices below ``runs/``."""

    def __post_init__(self) -> None:
        """Refuse what the types let through; give the model the decoder that its objective needs.

        Raises:
            ConfigurationError: a number is out of range.
        """
        if self.training.stem_rate and self.model.vision.stem == "pixels":
            raise ConfigurationError(
                f"Expected training.stem_rate=0 with model.vision.stem=pixels, which has no "
                f"weights of its own, got {self.training.stem_rate}."
            )
        if self.objective.region:
            self.model.region_decoder.enabled = True


def default_run_dir(config: PretrainConfig) -> Path:
    """``runs/pretrain/<model>/<data>/<objective>_seed<seed>``."""
    name = f"{config.objective.name}_seed{config.seed}"
    return Path("runs", "pretrain", config.model.name, config.data.kind, name)


def pretrain(config: PretrainConfig) -> tuple[dict[str, Any], Path]:
    """Run the pretraining, or what is left of it.

    Returns:
        The content of ``results.json`` and the run's folder. A run that is finished is returned as
        it is.

    Raises:
        ResumeMismatchError: the run's folder holds a run with other settings.
        TrainingDivergedError: the loss is no longer finite.
        EgoDTMRobotError: see the parts.
    """
    accelerator = make_accelerator(config.training, config.device)
    run_dir = Path(config.run_dir) if config.run_dir else default_run_dir(config)
    if accelerator.is_main_process:
        claim_run_dir(run_dir, config, _MAY_DIFFER)
    if (run_dir / RESULTS_FILE).is_file():
        return json.loads((run_dir / RESULTS_FILE).read_text()), run_dir
    clock = StageClock(run_dir) if accelerator.is_main_process else None

    if clock is not None:
        with clock("clips"):
            make_clips(config.data)
    accelerator.wait_for_everyone()
    splits = open_splits(config.data)

    model = EgoDTM(config.model, seed=config.seed)
    lacking = [] if config.initial is None else start_from(model, config.initial)
    spec = SampleSpec(
        resolution=config.model.vision.image_size,
        depth_size=(
            depth_size(config.model, config.model.vision.image_size)
            if config.objective.depth
            else None
        ),
        boxes=config.objective.region > 0,
        text=config.objective.texts,
        negatives=config.objective.negatives if config.objective.text else 0,
    )
    train = ClipDataset(
        splits.train.store, spec, config.data.augmentation, config.seed, splits.train.clips
    )
    watch = _Watch(config, splits, train, spec, accelerator, run_dir)
    provenance = {
        "data": splits.description,
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
    progress = _Progress(config) if accelerator.is_main_process else None
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
        progress=progress,
    )
    if clock is None:
        trained = trainer.run()
    else:
        with clock("train"):
            trained = trainer.run()

    best, _ = load_checkpoint(run_dir / "checkpoints" / BEST)
    best.to(accelerator.device).eval()
    measured = watch.measure(best, splits.test)
    results: dict[str, Any] = {}
    if clock is not None:
        with clock("test"):
            watch.draw_sheet(best, splits.test)
            _draw_curves(trained, run_dir)
        results = _results(config, trained, measured, splits, model, clock)
        write_atomically(run_dir / RESULTS_FILE, (json.dumps(results, indent=2) + "\n").encode())
    watch.close()
    accelerator.wait_for_everyone()
    return results, run_dir


class _Watch:
    """Looks at a model on held-out clips: scores by all processes, pictures by the main one."""

    def __init__(
        self,
        config: PretrainConfig,
        splits: Splits,
        train: ClipDataset,
        spec: SampleSpec,
        accelerator: Accelerator,
        run_dir: Path,
    ) -> None:
        self.objective = config.objective
        self.splits = splits
        self.train = train
        self.spec = dataclasses.replace(spec, text="caption", negatives=0)
        self.accelerator = accelerator
        self.run_dir = run_dir
        self.writer: Any = None
        self._mean_map: np.ndarray | None = None
        if accelerator.is_main_process:
            # Imported here: it takes a second that other processes need not wait.
            from torch.utils.tensorboard import SummaryWriter

            # Events of steps that a killed run took after its last state come again.
            step = last_saved_step(run_dir / "checkpoints")
            self.writer = SummaryWriter(str(run_dir / "events"), purge_step=step and step + 1)

    def validate(self, model: EgoDTM, step: int) -> dict[str, Any]:
        """Scores on the validation clips, written to the curves."""
        found = self.measure(model, self.splits.validation)
        if self.writer is not None:
            for name, value in _flat(found):
                self.writer.add_scalar(f"validation/{name}", value, step)
            if self.objective.depth:
                sheet = self._sheet(model, self.splits.validation)
                self.writer.add_image("validation/depth", sheet, step, dataformats="HWC")
            self.writer.flush()
        return found

    def measure(self, model: EgoDTM, part: Part) -> dict[str, Any]:
        """Scores on some clips, each process taking its share."""
        dataset = ClipDataset(part.store, self.spec, clips=part.clips)
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        own = range(rank, len(dataset), processes)
        measured = measure(
            model,
            dataset,
            own,
            self.objective,
            self.mean_map,
            _EVALUATED_AT_ONCE,
            self.accelerator.device,
        )
        parts: list[Measured] = gather_object([measured])
        return scores(Measured.join(parts), part.is_metric)

    @property
    def mean_map(self) -> np.ndarray | None:
        """Mean training target of depth (h, w); None without the objective."""
        if self._mean_map is None and self.spec.depth_size is not None:
            plain = ClipDataset(self.train.store, self.spec, clips=self.train.clips)
            count = min(_MEAN_MAP_CLIPS, len(plain))
            indices = np.arange(count) * len(plain) // count
            batches = evaluation_batches(plain, indices.tolist(), _EVALUATED_AT_ONCE)
            self._mean_map = mean_map(batches, self.spec.depth_size)
        return self._mean_map

    def draw_sheet(self, model: EgoDTM, part: Part) -> None:
        """Write frames, true and predicted depth of a few clips as a picture."""
        if self.objective.depth:
            _write_picture(self.run_dir / DEPTH_SHEET, self._sheet(model, part))

    def _sheet(self, model: EgoDTM, part: Part) -> np.ndarray:
        dataset = ClipDataset(part.store, self.spec, clips=part.clips)
        known = np.flatnonzero(part.store.has("depth")[part.clips])
        count = min(_EXAMPLES, len(known))
        chosen = known[np.arange(count) * len(known) // max(count, 1)]
        if not count:
            return np.zeros((1, 1, 3), np.uint8)
        batch = dataset.batch([Draw(int(index)) for index in chosen])
        return depth_sheet(*depth_examples(model, batch.to(self.accelerator.device)))

    def close(self) -> None:
        """Write out what TensorBoard has not yet."""
        if self.writer is not None:
            self.writer.close()


class _Progress:
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


def _results(
    config: PretrainConfig,
    trained: TrainingResult,
    measured: dict[str, Any],
    splits: Splits,
    model: EgoDTM,
    clock: StageClock,
) -> dict[str, Any]:
    """The content of ``results.json``."""
    towers = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in model.named_children()
    }
    results = {
        "schema_version": 1,
        "model": config.model.name,
        "objective": config.objective.name,
        "steps": config.steps,
        "batch_size": config.training.batch_size,
        "seed": config.seed,
        "data": splits.description,
        **{name: measured[name] for name in ("retrieval", "depth", "multiple_choice", "regions")},
        "test_clips": measured["clips"],
        "best_step": trained.best_step,
        "validation_score": trained.best_score,
        "clips_per_s": trained.clips_per_s,
        "loader_wait_fraction": trained.loader_wait_fraction,
        "parameters": {"total": sum(p.numel() for p in model.parameters()), **towers},
        "checkpoints": {"best": f"checkpoints/{BEST}", "last": f"checkpoints/{LAST}"},
        "timings_s": clock.seconds,
        "curves": trained.history,
        "versions": package_versions(_VERSIONED),
        "torch_threads": torch.get_num_threads(),
    }
    return _finite(results)


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON has no notation for."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Numbers of nested dictionaries, named by their paths."""
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)):
            found.append((f"{prefix}{name}", float(value)))
    return found


def _draw_curves(trained: TrainingResult, run_dir: Path) -> None:
    curves: dict[str, list[tuple[float, float]]] = {}
    for entry in trained.history:
        if "validation" in entry:
            named = [
                ("validation " + n.replace("/", " "), v) for n, v in _flat(entry["validation"])
            ]
            wanted = ("map", "accuracy", "depth delta1", "depth absrel", "regions iou", "score")
            named = [(name, value) for name, value in named if name.endswith(wanted)]
        else:
            named = [(f"training {n}", v) for n, v in entry.items() if n not in ("step",)]
        for name, value in named:
            curves.setdefault(name, []).append((entry["step"], value))
    if curves:
        _write_picture(run_dir / CURVES, curve_sheet(curves))


def _write_picture(path: Path, pixels: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())


def describe(results: dict[str, Any], run_dir: Path) -> str:
    """The run in words: the last lines that a person sees."""
    lines = [
        "",
        f"{results['model']}, objective {results['objective']}, {results['steps']} steps of "
        f"{results['batch_size']}, seed {results['seed']}: best at step {results['best_step']}",
        f"  on {results['test_clips']} clips of scenes that nothing was trained or chosen on:",
    ]
    found = results["retrieval"]
    if found is not None:
        lines.append("  retrieval          R@1     R@5     mAP    chance R@1")
        for name in ("text_to_video", "video_to_text"):
            one = found[name]
            lines.append(
                f"    {name.replace('_', ' '):<14}{one['r1']:7.1%} {one['r5']:7.1%} "
                f"{one['map']:7.1%} {one['chance_r1']:9.2%}"
            )
    choice = results["multiple_choice"]
    if choice is not None:
        low, high = choice["wilson95"]
        lines.append(
            f"  multiple choice: {choice['accuracy']:.1%} [{low:.1%}, {high:.1%}] of "
            f"{choice['questions']} questions, chance {choice['chance']:.0%}, without looking "
            f"{choice['blind']:.1%}"
        )
    depth = results["depth"]
    if depth is not None:
        lines.append(f"  depth              delta1    RMSE  AbsRel   ({depth['unit']})")
        rows = {"this model": depth, "mean training map": depth.get("mean_training_map")}
        for name, one in rows.items():
            if one is not None:
                lines.append(
                    f"    {name:<19}{one['delta1']:.3f} {one['rmse']:7.3f} {one['absrel']:7.3f}"
                )
    if results["regions"] is not None:
        lines.append(f"  boxes: mean intersection over union {results['regions']['iou']:.3f}")
    timings = ", ".join(f"{name} {spent:.0f} s" for name, spent in results["timings_s"].items())
    lines += [
        f"  {results['clips_per_s']:.1f} clips/s, loader wait "
        f"{results['loader_wait_fraction']:.1%}; {timings}",
        f"  {run_dir / RESULTS_FILE}",
        f"  {run_dir / 'checkpoints' / BEST}",
    ]
    pictures = [run_dir / name for name in (DEPTH_SHEET, CURVES)]
    lines += [f"  {picture}" for picture in pictures if picture.is_file()]
    return "\n".join(lines)


@command(PretrainConfig, "pretrain")
def main(config: PretrainConfig) -> None:
    """Run the pretraining and print what came of it."""
    results, run_dir = pretrain(config)
    if results:
        print(describe(results, run_dir))


if __name__ == "__main__":
    main()
