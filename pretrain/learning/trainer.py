"""The pretraining loop: one process or many, resumable to the same weights after a kill.

Everything random follows from the seed and the place of a sample in the stream of training (see
:mod:`pretrain.clips.dataset`), and the learning rate from the step. A state to resume from
therefore holds the weights, the optimizer's moments, the loss scaler, and how far the run is.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from egodtm_robot.core.training.checkpoints import BestCheckpoint
from egodtm_robot.core.training.curve import StepMeans
from egodtm_robot.core.training.guard import check_finite
from egodtm_robot.core.training.parameter_groups import (
    is_matrix,
    parameter_groups,
    set_learning_rate,
)
from egodtm_robot.core.training.schedule import is_due, rate_share
from egodtm_robot.core.training.states import TrainingStates, saved_states
from egodtm_robot.core.training.weight_average import WeightAverage
from pretrain.checkpoints import save_checkpoint
from pretrain.clips.dataset import ClipBatch, ClipDataset
from pretrain.clips.stream import StreamSampler, training_loader
from pretrain.learning.training_config import TrainingConfig, image_steps
from pretrain.losses.heads import ModelWithHeads
from pretrain.losses.objective import ObjectiveConfig, freeze_unused, objective_losses
from pretrain.model import EgoDTM

BEST, LAST = "best.safetensors", "last.safetensors"
"""Checkpoints that a run keeps, each with a card beside it."""

_RESUME = "resume"
"""Folder of the states to resume from, beside the checkpoints."""


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


@dataclass
class _Pace:
    """How fast a run is: steps on clips, without the first one after a start."""

    trained_s: float = 0.0
    waited_s: float = 0.0
    clips: int = 0

    @property
    def clips_per_s(self) -> float:
        return self.clips / self.trained_s if self.trained_s else 0.0

    @property
    def loader_wait_fraction(self) -> float:
        return self.waited_s / self.trained_s if self.trained_s else 0.0


class Trainer:
    """One run: what is trained, on what, and how far it is.

    Writes the checkpoints BEST and LAST into ``out_dir``, and into ``out_dir/resume`` states to go
    on from. Made again with the same arguments it goes on from the last state and ends with the
    same weights.

    Args:
        config: how to train.
        objective: the losses to train for.
        model: with its initial weights.
        dataset: training clips.
        out_dir: folder of checkpoints.
        steps: optimization steps; 0 keeps the initial weights.
        seed: of the order and the augmentation of clips.
        accelerator: of :func:`~pretrain.learning.accelerator.make_accelerator`.
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
        # Configuration.
        self.config = config
        self.objective = objective
        self.steps = steps
        self.seed = seed
        self.out_dir = out_dir
        self.provenance = dict(provenance)

        # Parts.
        self.accelerator = accelerator
        self.model = model.to(accelerator.device)
        self.dataset = dataset
        self.validate = validate
        self.writer = writer
        self.progress = progress
        freeze_unused(self.model, objective)
        if self.model.visual.stem is not None:
            self.model.visual.stem.train_network(config.stem_rate > 0)
        if config.text_rate == 0:
            self.model.textual.requires_grad_(False)
        self.heads: ModelWithHeads | None = None
        if objective.has_heads:
            channels = dataset.teacher.channels if dataset.teacher is not None else None
            heads = ModelWithHeads(self.model, objective, seed, channels)
            self.heads = heads.to(accelerator.device)
        self.trainee: torch.nn.Module = self.model if self.heads is None else self.heads
        self.trained = [p for p in self.trainee.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(self.model, config, self.heads)
        self.average = None if config.ema is None else WeightAverage(self.model, config.ema)
        self.states = TrainingStates(out_dir / _RESUME, self.identity)

        # State of the run.
        self.step = 0
        self.best = BestCheckpoint()
        self.history: list[dict[str, Any]] = []
        self.pace = _Pace()

    def run(self) -> TrainingResult:
        """Train to the end.

        Raises:
            ResumeMismatchError: ``out_dir`` belongs to a run with other settings or data.
            TrainingDivergedError: a loss or the gradient is no longer finite.
        """
        config, accelerator = self.config, self.accelerator
        self._resume()
        first = self.step
        if config.compile:
            self.model.compile()
        # Of the stem's 1 x 1 convolutions: they have one order in memory under two descriptions.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        wrapped, optimizer = accelerator.prepare(self.trainee, self.optimizer)
        on_images = image_steps(config, self.steps)
        if self.steps == 0:
            self._validate_and_keep()
        batches = iter(self._loader(on_images))
        means = StepMeans()
        self.trainee.train()
        began = time.perf_counter()
        while self.step < self.steps:
            asked = time.perf_counter()
            batch = next(batches).to(accelerator.device)
            waited = time.perf_counter() - asked

            rate = config.learning_rate * rate_share(self.step, self.steps, warmup=config.warmup)
            set_learning_rate(optimizer, rate)
            if self.heads is not None:
                self.heads.begin_step(self.step, accelerator.process_index)
            means.add(self._optimize(wrapped, optimizer, batch))
            self.step += 1
            if self.average is not None:
                self.average.update(self.step)

            now = time.perf_counter()
            # The first batch waits for the workers to start; steps on images are another matter.
            if self.step - first > 1 and self.step > on_images:
                self.pace.trained_s += now - began
                self.pace.waited_s += waited
                self.pace.clips += config.batch_size
            began = now

            # Everything below happens at steps that a resumed run meets as well.
            validate = is_due(self.step, self.steps, config.validate_every)
            save = is_due(self.step, self.steps, config.save_every)
            if validate or save or is_due(self.step, self.steps, config.log_every):
                self._log(means, rate)
            if validate:
                self._validate_and_keep()
            if save:
                self._save()
            if validate or save:
                began = time.perf_counter()
        accelerator.wait_for_everyone()
        return TrainingResult(
            history=self.history,
            best_step=self.best.step,
            best_score=self.best.score,
            clips_per_s=self.pace.clips_per_s,
            loader_wait_fraction=self.pace.loader_wait_fraction,
            seconds=self.pace.trained_s,
        )

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the weights."""
        return {
            "training": self.config,
            "objective": self.objective,
            "model": self.model.config,
            "augmentation": self.dataset.augmentation,
            "sample": self.dataset.spec,
            "data": self.provenance.get("data"),
            "steps": self.steps,
            "seed": self.seed,
            "torch": torch.__version__,
        }

    # -- a step --------------------------------------------------------------------------------

    def _loader(self, on_images: int) -> Any:
        """This process's batches from the present step to the last."""
        config, accelerator = self.config, self.accelerator
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
        return training_loader(
            self.dataset, sampler, config.workers, accelerator.device.type == "cuda"
        )

    def _optimize(
        self, wrapped: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: ClipBatch
    ) -> dict[str, torch.Tensor]:
        """Take one step; returns the losses and the norm of the gradient."""
        losses = objective_losses(wrapped, batch, self.objective, self.model.config)
        optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(losses["total"])
        norm = self.accelerator.clip_grad_norm_(self.trained, self.config.clip_norm)
        optimizer.step()
        return {**losses, "gradient_norm": norm}

    # -- curves and checkpoints ----------------------------------------------------------------

    def _log(self, means: StepMeans, rate: float) -> None:
        """Write down the means of the last steps, and stop if they are not finite."""
        first = self.step - means.steps + 1
        values = means.take(lambda own: self.accelerator.reduce(own, "mean"))
        watched = dict(values)
        if self.accelerator.scaler is not None:
            # The loss scaler finds its scale by gradients that overflow, whose steps it skips.
            del watched["gradient_norm"]
        check_finite(
            watched,
            first,
            self.step,
            advice=f"Lower training.learning_rate (it is {self.config.learning_rate}), use "
            "training.precision=float32, or check the clips (python -m pretrain.clips.verify)",
            states=self.states.folder,
        )
        self.history.append({"step": self.step, **values, "learning_rate": rate})
        wait = self.pace.loader_wait_fraction
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"train/{name}", value, self.step)
            self.writer.add_scalar("train/learning_rate", rate, self.step)
            self.writer.add_scalar("speed/loader_wait_fraction", wait, self.step)
            if self.pace.trained_s:
                self.writer.add_scalar("speed/clips_per_s", self.pace.clips_per_s, self.step)
        if self.progress is not None:
            self.progress(self.step, f"loss {values['total']:.3f}  loader wait {wait:.0%}")

    def _validate_and_keep(self) -> None:
        """Score the validation clips; keep the weights as the last and, if they are, the best.

        With ``training.ema`` these are the averaged weights.
        """
        with nullcontext() if self.average is None else self.average.applied():
            self._validate_and_keep_present()

    def _validate_and_keep_present(self) -> None:
        self.model.eval()
        scores = self.validate(self.model, self.step)
        self.model.train()
        self.history.append({"step": self.step, "validation": scores})
        kept = self.best.enter(self.step, scores["score"])
        if self.accelerator.is_main_process:
            self.out_dir.mkdir(parents=True, exist_ok=True)
            card = {**self.provenance, "step": self.step, "validation": scores}
            for name in kept:
                file = BEST if name == "best" else LAST
                save_checkpoint(self.out_dir / file, self.model, card)

    # -- resume --------------------------------------------------------------------------------

    def _save(self) -> None:
        """Write a state to resume from; the work of one process."""
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        record = {
            "best": self.best.to_json(),
            "history": self.history,
            "times": [self.pace.trained_s, self.pace.waited_s, self.pace.clips],
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        further = {} if self.average is None else {"average": self.average.tensors()}
        self.states.save(self.step, self.trainee, self.optimizer, record, further)

    def _resume(self) -> None:
        """Take up the newest readable state, if there is one."""
        further: dict[str, dict[str, torch.Tensor]] = {}
        record = self.states.restore(self.trainee, self.optimizer, further)
        if record is not None:
            if self.average is not None:
                self.average.restore(further["average"])
            if record["scaler"] is not None and self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(record["scaler"])
            self.step = record["step"]
            self.best = BestCheckpoint.from_json(record["best"])
            self.history = record["history"]
            self.pace = _Pace(*record["times"])
        # All have read before one of them may remove a state.
        self.accelerator.wait_for_everyone()


def make_optimizer(
    model: EgoDTM, config: TrainingConfig, heads: ModelWithHeads | None = None
) -> torch.optim.AdamW:
    """AdamW on what is trained, with weight decay on matrices that multiply features.

    Stem and text encoder learn at their shares of the rate, :attr:`TrainingConfig.stem_rate` and
    :attr:`TrainingConfig.text_rate`.

    Args:
        model: what is trained.
        config: rates.
        heads: that are trained with it, at the rate of the rest; the dense head at its multiple of
            that rate, :attr:`pretrain.losses.dense.DenseLossConfig.head_rate`.
    """

    def share(name: str) -> float:
        if name.startswith("visual.stem.network."):
            return config.stem_rate
        return config.text_rate if name.startswith("textual.") else 1.0

    def decays(name: str, parameter: torch.nn.Parameter) -> bool:
        # Embeddings and queries are matrices by their shape alone: each row is a vector of its own.
        is_table = "embedding" in name or "query_" in name
        # Without decay there is one group, in which states have always numbered the parameters.
        return is_matrix(name, parameter) and not is_table and config.weight_decay > 0

    # Parts at the full rate are one, and come first: so states have always numbered them.
    parts: dict[float, list[tuple[str, torch.nn.Parameter]]] = {1.0: []}
    for name, parameter in model.named_parameters():
        parts.setdefault(share(name), []).append((name, parameter))
    groups = [
        group
        for rate, members in parts.items()
        for group in parameter_groups(members, config.weight_decay, rate_share=rate, decays=decays)
    ]
    if heads is not None:
        own = [one for one in heads.named_parameters() if not one[0].startswith("model.")]
        slow = [one for one in own if not one[0].startswith("dense.")]
        fast = [one for one in own if one[0].startswith("dense.")]
        multiple = heads.objective.dense.head_rate
        groups += parameter_groups(slow, config.weight_decay, decays=decays)
        groups += parameter_groups(fast, config.weight_decay, rate_share=multiple, decays=decays)
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True
    )


def last_saved_step(out_dir: Path) -> int | None:
    """The step of the newest state in a folder of checkpoints; None if there is none."""
    states = saved_states(out_dir / _RESUME)
    return int(states[-1].stem.removeprefix("state_")) if states else None
