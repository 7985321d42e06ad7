"""The training loop: one process or many, resumable to the same weights after a kill.

Everything random follows from the seed and the place of a sample in the stream of training (see
:mod:`pretrain.clips.dataset`), and the learning rate from the step. What a state to resume from
holds is therefore the weights, the optimiser's moments, the loss scaler, and how far the run is.
"""

import dataclasses
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from egodtm_robot.core.configuration import Threads, Workers
from egodtm_robot.core.errors import (
    ConfigurationError,
    TrainingDivergedError,
)
from egodtm_robot.core.training_state import TrainingStates, saved_states
from pretrain.checkpoints import save_checkpoint
from pretrain.clips.dataset import ClipDataset, StreamSampler, training_loader
from pretrain.model import EgoDTM
from pretrain.objective import ObjectiveConfig, freeze_unused, objective_losses

Precision = Literal["float32", "bf16", "fp16"]
PRECISIONS: dict[Precision, str] = {"float32": "no", "bf16": "bf16", "fp16": "fp16"}
"""Our names of accelerate's mixed precisions."""

BEST, LAST = "best.safetensors", "last.safetensors"
"""Checkpoints that a run keeps, each with a card beside it."""


@dataclass
class TrainingConfig:
    """The ``training`` part of the configuration."""

    batch_size: int = 64
    """Clips a step in all processes together; each is compared with the texts of all others."""

    image_share: float = 0.0
    """Share of the steps, from the first on, whose samples are single frames. A model from nothing
    sees several times as many scenes in the same time; the published one starts from CLIP, trained
    on images."""

    image_batch_size: int = 256
    """Frames of such a step in all processes together."""

    learning_rate: float = 1e-3
    """AdamW's, at the end of the warm-up. For a small model from nothing; the published one starts
    from CLIP's weights with 3e-5."""

    stem_rate: float = 0.0
    """Learning rate of a stem that comes with weights of its own (``model.vision.stem``), as a
    share of ``learning_rate``; 0 leaves it as ImageNet taught it, which saves its backward pass:
    two fifths of a step on single frames, more on clips."""

    warmup: float = 0.05
    """Share of the steps in which the rate rises from zero; then it falls by a cosine to zero."""

    weight_decay: float = 0.05
    """Decoupled, on weight matrices alone: not on biases, norms, embeddings or queries."""

    beta1: float = 0.9
    """Decay of AdamW's mean of gradients."""

    beta2: float = 0.98
    """Decay of AdamW's mean of squares. CLIP's; the published run has 0.999, which is slow to
    notice a change within a short run."""

    clip_norm: float = 1.0
    """Gradients of a larger norm are scaled down to it."""

    precision: Precision = "float32"
    """``float32``, or ``bf16`` or ``fp16`` for the products inside the model."""

    compile: bool = False
    """Whether torch compiles the model: minutes of waiting at the start, faster steps after."""

    validate_every: int = 250
    """Steps between two looks at the validation clips."""

    save_every: int = 100
    """Steps between two states to resume from."""

    log_every: int = 10
    """Steps that one entry of the curves is the mean of."""

    workers: Workers = 1
    """Processes a trainer that read and prepare clips; 0 does it in between steps."""

    threads: Threads | None = None
    """CPU threads of a trainer; null shares the cores among the trainers of a machine, unless
    OMP_NUM_THREADS says otherwise."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a number is out of range.
        """
        for name in ("batch_size", "image_batch_size", "validate_every", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} >= 1, got {getattr(self, name)}.")
        if not 0 <= self.image_share <= 1:
            raise ConfigurationError(f"Expected image_share in [0, 1], got {self.image_share}.")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0 or not math.isfinite(getattr(self, name)):
                raise ConfigurationError(f"Expected {name} > 0, got {getattr(self, name)}.")
        for name in ("warmup", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} in [0, 1), got {getattr(self, name)}.")
        if not 0 <= self.stem_rate <= 1:
            raise ConfigurationError(f"Expected stem_rate in [0, 1], got {self.stem_rate}.")
        if not self.weight_decay >= 0:
            raise ConfigurationError(f"Expected weight_decay >= 0, got {self.weight_decay}.")


_NOT_DECISIVE = ("compile", "save_every", "log_every", "workers", "threads")
"""Settings that may differ between the parts of a run: they change nothing, or rounding alone."""


def image_steps(config: TrainingConfig, steps: int) -> int:
    """How many of ``steps`` steps, the first ones, are on single frames."""
    return round(config.image_share * steps)


def learning_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """The rate of the step after ``step`` of ``steps`` steps."""
    warmup = round(config.warmup * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1, steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def make_accelerator(config: TrainingConfig, device: str = "auto") -> Accelerator:
    """The processes and the device that this run has, by what it was launched with.

    Args:
        config: for precision and threads.
        device: ``auto`` takes GPUs if there are any, ``cpu`` does not.

    Raises:
        ConfigurationError: neither of the two.
    """
    if device not in ("auto", "cpu"):
        raise ConfigurationError(
            f"Expected device=auto or cpu, got {device!r}; to choose among GPUs set "
            "CUDA_VISIBLE_DEVICES."
        )
    # Accelerate keeps one state a process and refuses another precision in a second run.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        cpu=device == "cpu" or not torch.cuda.is_available(),
        mixed_precision=PRECISIONS[config.precision],
    )
    threads = config.threads
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        trainers = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        threads = max(1, available_cores() // trainers)
    if threads is not None:
        torch.set_num_threads(threads)
    return accelerator


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_optimizer(model: EgoDTM, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW on what is trained, with weight decay on matrices that multiply features.

    Each group has its share of the learning rate as ``rate_share``.
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        # Embeddings and queries are matrices by their shape alone: each row is a vector of its own.
        is_table = "embedding" in name or "query_" in name
        decay = 0.0 if parameter.ndim <= 1 or is_table else config.weight_decay
        share = config.stem_rate if name.startswith("visual.stem.network.") else 1.0
        groups.setdefault((share, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "rate_share": share}
            for (share, decay), parameters in sorted(
                groups.items(), key=itemgetter(0), reverse=True
            )
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=True,
    )


@dataclass
class TrainingResult:
    """What came of a training run.

    Attributes:
        history: entries of the curves: ``step`` and means of losses, or scores of validation.
        best_step: step of the best checkpoint.
        best_score: its score on the validation clips.
        clips_per_s: clips trained on a second; steps on single frames, validation and saving apart.
        loader_wait_fraction: share of that time in which the loop waited for its batch.
        seconds: of that time, over all parts of the run.
    """

    history: list[dict[str, Any]]
    best_step: int
    best_score: float
    clips_per_s: float
    loader_wait_fraction: float
    seconds: float


class Trainer:
    """One run: what is trained, on what, and how far it is.

    Writes the checkpoints BEST and LAST into ``out_dir``, and into ``out_dir/resume`` states to go
    on from. Made again with the same arguments it goes on from the last state and ends with the
    same weights.

    Args:
        config: how to train.
        objective: what for.
        model: with its initial weights.
        dataset: training clips.
        out_dir: folder of checkpoints.
        steps: optimisation steps; 0 keeps the initial weights.
        seed: of the order and the augmentation of clips.
        accelerator: of :func:`make_accelerator`.
        provenance: JSON-able facts for the cards of checkpoints; with the data's fingerprint, on
            which alone a run is resumed.
        validate: given the model and the step, returns scores, among them ``score``, the larger the
            better. Called in all processes.
        writer: of TensorBoard, or None.
        progress: called at every entry of the curves with (step, note).
    """

    def __init__(
        self,
        config: TrainingConfig,
        objective: ObjectiveConfig,
        model: EgoDTM,
        dataset: ClipDataset,
        out_dir: Path,
        *,
        steps: int,
        seed: int,
        accelerator: Accelerator,
        provenance: Mapping[str, Any],
        validate: Callable[[EgoDTM, int], dict[str, Any]],
        writer: Any = None,
        progress: Callable[[int, str], None] | None = None,
    ) -> None:
        self.config = config
        self.objective = objective
        self.model = model.to(accelerator.device)
        self.dataset = dataset
        self.out_dir = out_dir
        self.steps = steps
        self.seed = seed
        self.accelerator = accelerator
        self.provenance = dict(provenance)
        self.validate = validate
        self.writer = writer
        self.progress = progress

        freeze_unused(self.model, objective)
        if self.model.visual.stem is not None:
            self.model.visual.stem.train_network(config.stem_rate > 0)
        self.optimizer = make_optimizer(self.model, config)
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.best: tuple[int, float] = (-1, -math.inf)
        self.trained_s = 0.0
        self.waited_s = 0.0
        self.timed_clips = 0

    def run(self) -> TrainingResult:
        """Train to the end.

        Raises:
            ResumeMismatchError: ``out_dir`` belongs to a run with other settings or data.
            TrainingDivergedError: the loss is no longer finite.
        """
        config, accelerator = self.config, self.accelerator
        self._resume()
        if config.compile:
            self.model.compile()
        # Of the stem's 1 x 1 convolutions: they have one order in memory under two descriptions.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        wrapped, optimizer = accelerator.prepare(self.model, self.optimizer)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        on_images = image_steps(config, self.steps)
        sampler = StreamSampler(
            len(self.dataset),
            self.seed,
            config.batch_size,
            self.step,
            self.steps,
            accelerator.process_index,
            accelerator.num_processes,
            on_images,
            config.image_batch_size,
        )
        on_gpu = accelerator.device.type == "cuda"
        if self.step == 0 and self.steps == 0:
            self._validate_and_keep()
        batches = iter(training_loader(self.dataset, sampler, config.workers, on_gpu))
        sums: dict[str, torch.Tensor] = {}
        counted = 0
        self.model.train()
        began = time.perf_counter()
        while self.step < self.steps:
            asked = time.perf_counter()
            batch = next(batches).to(accelerator.device)
            waited = time.perf_counter() - asked

            rate = learning_rate(config, self.step, self.steps)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["rate_share"]
            losses = objective_losses(wrapped, batch, self.objective, self.model.config)
            optimizer.zero_grad(set_to_none=True)
            accelerator.backward(losses["total"])
            norm = accelerator.clip_grad_norm_(trained, config.clip_norm)
            optimizer.step()
            self.step += 1

            for name, value in {**losses, "gradient_norm": norm}.items():
                sums[name] = sums.get(name, 0) + value.detach()
            counted += 1
            now = time.perf_counter()
            # The first batch waits for the workers to start; steps on images are another matter.
            if self.step - sampler.start > 1 and self.step > on_images:
                self.trained_s += now - began
                self.waited_s += waited
                self.timed_clips += config.batch_size
            began = now

            # Everything below happens at steps that a resumed run meets as well.
            last = self.step == self.steps
            validate = self.step % config.validate_every == 0 or last
            save = self.step % config.save_every == 0 or last
            if self.step % config.log_every == 0 or validate or save:
                self._log(sums, counted, rate)
                sums, counted = {}, 0
            if validate:
                self._validate_and_keep()
            if save:
                self._save()
            if validate or save:
                began = time.perf_counter()
        accelerator.wait_for_everyone()
        return TrainingResult(
            history=self.history,
            best_step=self.best[0],
            best_score=self.best[1],
            clips_per_s=self.timed_clips / self.trained_s if self.trained_s else 0.0,
            loader_wait_fraction=self.waited_s / self.trained_s if self.trained_s else 0.0,
            seconds=self.trained_s,
        )

    # -- curves and checkpoints ----------------------------------------------------------------

    def _log(self, sums: Mapping[str, torch.Tensor], counted: int, rate: float) -> None:
        """Write down the means of the last steps, and stop if they are not finite."""
        names = list(sums)
        means = torch.stack([sums[name].float() for name in names]) / counted
        means = self.accelerator.reduce(means, "mean")
        values = dict(zip(names, means.tolist(), strict=True))
        if not math.isfinite(values["total"]):
            parts = ", ".join(f"{name} {value:g}" for name, value in values.items())
            raise TrainingDivergedError(
                f"Expected finite losses, got {parts} between steps {self.step - counted + 1} and "
                f"{self.step}. Lower training.learning_rate (it is {self.config.learning_rate}), "
                f"use training.precision=float32, or check the clips (python -m "
                f"pretrain.clips.verify); the last state saved is in {self.out_dir / 'resume'}."
            )
        self.history.append({"step": self.step, **values, "learning_rate": rate})
        wait = self.waited_s / self.trained_s if self.trained_s else 0.0
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"train/{name}", value, self.step)
            self.writer.add_scalar("train/learning_rate", rate, self.step)
            self.writer.add_scalar("speed/loader_wait_fraction", wait, self.step)
            if self.trained_s:
                rate_now = self.timed_clips / self.trained_s
                self.writer.add_scalar("speed/clips_per_s", rate_now, self.step)
        if self.progress is not None:
            self.progress(self.step, f"loss {values['total']:.3f}  loader wait {wait:.0%}")

    def _validate_and_keep(self) -> None:
        """Score the validation clips; keep the weights as the last and, if they are, the best."""
        self.model.eval()
        scores = self.validate(self.model, self.step)
        self.model.train()
        self.history.append({"step": self.step, "validation": scores})
        better = scores["score"] > self.best[1] or self.best[0] < 0
        if better:
            self.best = (self.step, scores["score"])
        if self.accelerator.is_main_process:
            self.out_dir.mkdir(parents=True, exist_ok=True)
            card = {**self.provenance, "step": self.step, "validation": scores}
            for name in (LAST, BEST) if better else (LAST,):
                save_checkpoint(self.out_dir / name, self.model, card)

    # -- resume --------------------------------------------------------------------------------

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the weights."""
        training = dataclasses.asdict(self.config)
        return {
            "training": {k: v for k, v in training.items() if k not in _NOT_DECISIVE},
            "objective": dataclasses.asdict(self.objective),
            "model": dataclasses.asdict(self.model.config),
            "augmentation": dataclasses.asdict(self.dataset.augmentation),
            "sample": dataclasses.asdict(self.dataset.spec),
            "data": self.provenance.get("data"),
            "steps": self.steps,
            "seed": self.seed,
            "torch": torch.__version__,
        }

    def _save(self) -> None:
        """Write a state to resume from; the work of one process."""
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        record = {
            "best": list(self.best),
            "history": self.history,
            "times": [self.trained_s, self.waited_s, self.timed_clips],
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        self._states().save(self.step, self.model, self.optimizer, record)

    def _resume(self) -> None:
        """Take up the newest readable state, if there is one."""
        record = self._states().restore(self.model, self.optimizer)
        if record is not None:
            if record["scaler"] is not None and self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(record["scaler"])
            self.step = record["step"]
            self.best = (record["best"][0], record["best"][1])
            self.history = record["history"]
            self.trained_s, self.waited_s, self.timed_clips = record["times"]
        # All have read before one of them may remove a state.
        self.accelerator.wait_for_everyone()

    def _states(self) -> TrainingStates:
        return TrainingStates(_resume_folder(self.out_dir), self.identity)


def last_saved_step(out_dir: Path) -> int | None:
    """The step of the newest state in a folder of checkpoints; None if there is none."""
    states = saved_states(_resume_folder(out_dir))
    return int(states[-1].stem.removeprefix("state_")) if states else None


def _resume_folder(out_dir: Path) -> Path:
    return out_dir / "resume"
