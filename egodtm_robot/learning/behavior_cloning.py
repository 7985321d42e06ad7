"""Behavior cloning of any policy on cached features held in memory.

What a step does is a pure function of (seed, step): the order of the minibatches and the learning
rate need no state of their own, so a run that was killed goes on from its last saved step to the
same weights, bit for bit.
"""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from egodtm_robot.core.configuration import Threads
from egodtm_robot.core.errors import ConfigurationError, DatasetError
from egodtm_robot.core.seeding import hashed_seed
from egodtm_robot.core.training.curve import StepMeans
from egodtm_robot.core.training.guard import check_finite
from egodtm_robot.core.training.parameter_groups import parameter_groups, set_learning_rate
from egodtm_robot.core.training.schedule import Schedule, is_due, rate_share
from egodtm_robot.core.training.states import TrainingStates
from egodtm_robot.core.training.torch_threads import torch_threads
from egodtm_robot.learning.batches import DemonstratedSteps, PolicyBatches
from egodtm_robot.learning.dataset import CachedFeatureDataset, split_episodes
from policies.base import Policy
from policies.checkpoints import save_policy
from policies.registry import PolicyChoice


@dataclass
class BehaviorCloningConfig:
    """Settings of :func:`train`."""

    steps: int = 10_000
    """Gradient steps."""

    batch_size: int = 32
    """Rows a step; R3M's."""

    learning_rate: float = 1e-3
    """Adam's, at the first step; R3M's."""

    schedule: Schedule = "cosine"
    """``cosine`` decays the rate to zero, which lifts success and removes most of the spread
    between seeds; ``constant`` is R3M's."""

    weight_decay: float = 0.0
    """Decoupled (AdamW), on the weight matrices only."""

    validation_fraction: float = 0.1
    """Share of the demonstrations' episodes held out to watch overfitting; 0 trains on all."""

    validate_every: int = 500
    """Steps between two passes over the held-out episodes."""

    checkpoints: int = 1
    """Policies written, evenly spaced; the last one is the end of training."""

    first_checkpoint: float = 0.0
    """Share of training before which no policy is written: under a cosine schedule early ones
    never win. Of the evenly spaced checkpoints those up to this share are left out."""

    save_every: int = 1_000
    """Steps between two states to resume from."""

    threads: Threads = 1
    """CPU threads. A policy as small as the MLP loses time to more, and the number changes
    rounding."""

    def __post_init__(self) -> None:
        positive = (
            "steps", "batch_size", "validate_every", "checkpoints", "save_every", "threads",
        )  # fmt: skip
        for name in positive:
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} >= 1, got {getattr(self, name)}.")
        if self.batch_size < 2:
            raise ConfigurationError("Expected batch_size >= 2: BatchNorm needs a spread.")
        if not self.learning_rate > 0 or not math.isfinite(self.learning_rate):
            raise ConfigurationError(f"Expected learning_rate > 0, got {self.learning_rate}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigurationError(
                f"Expected a finite weight_decay >= 0, got {self.weight_decay}."
            )
        for name in ("validation_fraction", "first_checkpoint"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} in [0, 1), got {getattr(self, name)}.")
        if self.checkpoints > self.steps:
            raise ConfigurationError(
                f"Expected at most one checkpoint a step, got {self.checkpoints} for "
                f"{self.steps} steps."
            )

    def checkpoint_steps(self) -> list[int]:
        """Steps after which a policy is written, ascending; the last is ``steps``."""
        spaced = [round(self.steps * (i + 1) / self.checkpoints) for i in range(self.checkpoints)]
        return [step for step in spaced if step > self.first_checkpoint * self.steps]


@dataclass(frozen=True)
class PolicyCheckpoint:
    """A policy that training wrote.

    Attributes:
        step: gradient steps it has seen, 0 for a policy that takes none.
        path: its folder, for :func:`policies.checkpoints.load_policy`.
        train_loss: mean of the policy's loss over the steps since it was last written down; None
            for a policy that takes no gradient steps.
        validation_loss: the policy's loss over the held-out episodes; None without any.
    """

    step: int
    path: Path
    train_loss: float | None
    validation_loss: float | None


@dataclass(frozen=True)
class TrainResult:
    """The result of :func:`train`.

    Attributes:
        policy: at the last step, in evaluation mode.
        checkpoints: in order of steps; never empty.
        seconds: spent training in this call.
        resumed_step: where this call began, 0 for a fresh run.
    """

    policy: Policy
    checkpoints: tuple[PolicyCheckpoint, ...]
    seconds: float
    resumed_step: int


def train(
    config: BehaviorCloningConfig,
    choice: PolicyChoice,
    dataset: CachedFeatureDataset,
    out_dir: Path,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    provenance: Mapping[str, Any] | None = None,
    event_dir: Path | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> TrainResult:
    """Train a policy, or go on with a run that was stopped.

    The policy's statistics are fitted first, then the policy itself without gradients, then
    gradient steps lower its loss. A policy without optimized parameters is done before the last of
    these: it writes one checkpoint, of step 0, and is fitted again when it is called again.

    Writes ``out_dir/step_<n>/policy.{safetensors,json}`` for each checkpoint and
    ``out_dir/resume/`` to go on from. Called again with the same arguments it continues from the
    last saved step and ends with the same weights; called after the end it trains nothing.

    Args:
        config: how to train.
        choice: what to train.
        dataset: demonstrations and features.
        out_dir: the run's folder for checkpoints.
        seed: decides split, weights and minibatches.
        device: where to train.
        provenance: written into each checkpoint, see :func:`policies.checkpoints.save_policy`.
        event_dir: folder for TensorBoard; None writes no events.
        progress: called now and then with (step, steps, training loss).

    Raises:
        DatasetError: too few steps to train on.
        PoolingError: the policy's pooling does not fit the features.
        ResumeMismatchError: ``out_dir`` belongs to a run with other settings or data.
        TrainingDivergedError: the loss is no longer finite.
    """
    with torch_threads(config.threads):
        return _Trainer(
            config, choice, dataset, out_dir, seed, torch.device(device), provenance or {}
        ).run(event_dir, progress)


class _Trainer:
    """One run: its data, its policy, its optimizer, and how far it is."""

    def __init__(
        self,
        config: BehaviorCloningConfig,
        choice: PolicyChoice,
        dataset: CachedFeatureDataset,
        out_dir: Path,
        seed: int,
        device: torch.device,
        provenance: Mapping[str, Any],
    ) -> None:
        self.config = config
        self.out_dir = out_dir
        self.seed = seed
        self.device = device
        self.provenance = provenance
        self.states = TrainingStates(out_dir / "resume", _identity(config, choice, dataset, seed))

        training, validation = split_episodes(
            dataset.num_episodes, config.validation_fraction, seed
        )
        self.policy = choice.make(dataset.spec, torch.Generator().manual_seed(_mix(seed, 0)))
        history, chunk = self.policy.history, self.policy.chunk
        steps = DemonstratedSteps(dataset, training, history, chunk)
        self.policy.fit_statistics(steps.observation, steps.actions)
        self.policy.to(device).eval()
        self.training = PolicyBatches(steps, self.policy)
        self.validation = None
        if len(validation):
            held_out = DemonstratedSteps(dataset, validation, history, chunk)
            self.validation = PolicyBatches(held_out, self.policy)
        self.batch_size = min(config.batch_size, len(self.training))
        if self.batch_size < 2:
            raise DatasetError("Expected at least two steps to train on, got one. Collect more.")
        self.policy.fit(self.training)
        self.optimizer = _make_optimizer(self.policy, config)
        self.step = 0
        self.train_loss: float | None = None
        self.checkpoints: list[PolicyCheckpoint] = []

    def run(
        self, event_dir: Path | None, progress: Callable[[int, int, float], None] | None
    ) -> TrainResult:
        started = time.perf_counter()
        resumed_step = 0
        if self.optimizer is None:
            self._write_checkpoint(self._validate())
        else:
            self._resume(self.optimizer)
            resumed_step = self.step
            if self.step < self.config.steps:
                writer = _event_writer(event_dir, self.step)
                try:
                    self._take_steps(self.optimizer, writer, progress)
                finally:
                    if writer is not None:
                        writer.close()
        self.policy.eval()
        return TrainResult(
            policy=self.policy,
            checkpoints=tuple(self.checkpoints),
            seconds=time.perf_counter() - started,
            resumed_step=resumed_step,
        )

    def _take_steps(
        self,
        optimizer: torch.optim.Optimizer,
        writer: Any,
        progress: Callable[[int, int, float], None] | None,
    ) -> None:
        config = self.config
        checkpoint_steps = set(config.checkpoint_steps())
        means = StepMeans()
        noise = torch.Generator(self.device)
        self.policy.train()
        for rows in self._order():
            share = rate_share(self.step, config.steps, schedule=config.schedule)
            rate = config.learning_rate * share
            set_learning_rate(optimizer, rate)
            noise.manual_seed(_mix(self.seed, -1 - self.step))
            loss, parts = self.policy.loss(self.training.batch(rows, noise), noise)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            means.add({**parts, "loss": loss})
            self.step += 1

            # Everything below happens at steps that a resumed run meets as well.
            checkpoint = self.step in checkpoint_steps
            validate = self.step % config.validate_every == 0
            save = is_due(self.step, config.steps, config.save_every)
            if not (checkpoint or validate or save):
                continue
            first = self.step - means.steps + 1
            entry = means.take()
            check_finite(
                entry,
                first,
                self.step,
                advice=f"Lower the learning rate (it is {config.learning_rate}) or look at the "
                "features' scale",
                states=self.states.folder,
            )
            self.train_loss = entry["loss"]
            validation_loss = self._validate() if checkpoint or validate else None
            if writer is not None:
                writer.add_scalar("train/learning_rate", rate, self.step)
                for name, mean in entry.items():
                    writer.add_scalar(f"train/{name}", mean, self.step)
                if validation_loss is not None:
                    writer.add_scalar("validation/loss", validation_loss, self.step)
            if progress is not None:
                progress(self.step, config.steps, self.train_loss)
            if checkpoint:
                self._write_checkpoint(validation_loss)
            if save:
                self._save(optimizer)

    def _order(self) -> Iterator[Tensor]:
        """Row indices of each minibatch from the present step to the last."""
        rows, size = len(self.training), self.batch_size
        steps_an_epoch = rows // size
        epoch = -1
        order = torch.empty(0)
        for step in range(self.step, self.config.steps):
            if step // steps_an_epoch != epoch:
                epoch = step // steps_an_epoch
                generator = torch.Generator().manual_seed(_mix(self.seed, epoch + 1))
                order = torch.randperm(rows, generator=generator).to(self.device)
            first = (step % steps_an_epoch) * size
            yield order[first : first + size]

    @torch.no_grad()
    def _validate(self) -> float | None:
        if self.validation is None:
            return None
        training = self.policy.training
        self.policy.eval()
        total = 0.0
        for batch in self.validation:
            loss, _ = self.policy.loss(batch)
            total += float(loss) * len(batch)
        self.policy.train(training)
        return total / len(self.validation)

    def _write_checkpoint(self, validation_loss: float | None) -> None:
        folder = self.out_dir / f"step_{self.step:07d}"
        save_policy(
            self.policy,
            folder,
            {
                **self.provenance,
                "step": self.step,
                "train_loss": self.train_loss,
                "validation_loss": validation_loss,
            },
        )
        self.checkpoints.append(
            PolicyCheckpoint(self.step, folder, self.train_loss, validation_loss)
        )

    # -- resume --------------------------------------------------------------------------------

    def _save(self, optimizer: torch.optim.Optimizer) -> None:
        record = {
            "train_loss": self.train_loss,
            "checkpoints": [
                [c.step, c.path.name, c.train_loss, c.validation_loss] for c in self.checkpoints
            ],
        }
        self.states.save(self.step, self.policy, optimizer, record)

    def _resume(self, optimizer: torch.optim.Optimizer) -> None:
        record = self.states.restore(self.policy, optimizer)
        if record is not None:
            self.step = record["step"]
            self.train_loss = record["train_loss"]
            self.checkpoints = [
                PolicyCheckpoint(step, self.out_dir / name, train_loss, validation_loss)
                for step, name, train_loss, validation_loss in record["checkpoints"]
            ]


def _make_optimizer(policy: Policy, config: BehaviorCloningConfig) -> torch.optim.Optimizer | None:
    """AdamW, or None for a policy that takes no gradient steps."""
    groups = parameter_groups(policy.optimized_parameters(), config.weight_decay)
    if not groups:
        return None
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _identity(
    config: BehaviorCloningConfig, choice: PolicyChoice, dataset: CachedFeatureDataset, seed: int
) -> dict[str, Any]:
    """Everything that decides the weights, as JSON gives it back."""
    settings = dataclasses.asdict(config)
    settings |= {f"policy.{name}": value for name, value in choice.to_json().items()}
    settings |= {"seed": seed, "dataset": dataset.fingerprint, "spec": dataset.spec.to_json()}
    settings["torch"] = torch.__version__
    return json.loads(json.dumps(settings))


def _mix(seed: int, stream: int) -> int:
    """One 63-bit seed for each (seed, stream), far from its neighbors'."""
    return hashed_seed(f"{seed}:{stream}".encode())


def _event_writer(event_dir: Path | None, step: int) -> Any:
    if event_dir is None:
        return None
    # Imported here: it takes a second that a run without events need not wait.
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(event_dir), purge_step=step or None)
