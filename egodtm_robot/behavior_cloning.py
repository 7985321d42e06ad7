"""Behaviour cloning on cached features held in memory.

What a step does is a pure function of (seed, step): the order of the minibatches and the learning
rate need no state of their own, so a run that was killed goes on from its last saved step to the
same weights, bit for bit.
"""

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from egodtm_robot.core.configuration import Threads
from egodtm_robot.core.errors import (
    ConfigurationError,
    DatasetError,
    TrainingDivergedError,
)
from egodtm_robot.core.training_state import TrainingStates
from egodtm_robot.demos.store import DemonstrationStore
from policies.base import FEATURES_PREFIX, PROPRIOCEPTION, FeatureShape, PolicySpec
from policies.checkpoints import save_policy
from policies.mlp import MLPPolicy, MLPPolicyConfig, make_policy

Schedule = Literal["cosine", "constant"]
_EMBEDDED_AT_ONCE = 4_096


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
    """CPU threads. A head this small loses time to more, and the number changes rounding."""

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
        if not self.weight_decay >= 0:
            raise ConfigurationError(f"Expected weight_decay >= 0, got {self.weight_decay}.")
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


def learning_rate(config: BehaviorCloningConfig, step: int) -> float:
    """The rate of the step after ``step`` steps."""
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / config.steps))


@dataclass(frozen=True)
class CachedFeatureDataset:
    """Demonstrations as a policy sees them, in memory, step after step.

    Attributes:
        proprioception: float32 (N, P).
        features: float32 (N, L, D) a camera.
        actions: float32 (N, A) in [-1, 1].
        episode_offsets: int64 (E + 1,); episode i holds the steps from its offset to the next.
        grids: where a camera's tokens lie, (rows, columns) or None.
        fingerprint: of the demonstrations and the encoder; a run is resumed on the same one only.
    """

    proprioception: np.ndarray
    features: Mapping[str, np.ndarray]
    actions: np.ndarray
    episode_offsets: np.ndarray
    grids: Mapping[str, tuple[int, int] | None]
    fingerprint: str = ""

    def __post_init__(self) -> None:
        steps = int(self.episode_offsets[-1]) if len(self.episode_offsets) else 0
        if len(self.episode_offsets) < 2 or steps < 2:
            raise DatasetError(
                f"Expected at least one demonstration of two steps, got "
                f"{max(len(self.episode_offsets) - 1, 0)} of {steps} steps in all. Collect more."
            )
        if self.episode_offsets[0] != 0 or (np.diff(self.episode_offsets) < 1).any():
            raise DatasetError("Expected episode offsets that start at 0 and increase.")
        if self.grids.keys() != self.features.keys():
            raise DatasetError(
                f"Expected one grid (or None) a camera, got {sorted(self.grids)} for "
                f"{sorted(self.features)}."
            )
        arrays = {PROPRIOCEPTION: (self.proprioception, 2), "actions": (self.actions, 2)}
        arrays |= {FEATURES_PREFIX + camera: (a, 3) for camera, a in self.features.items()}
        for name, (array, axes) in arrays.items():
            if array.ndim != axes or array.shape[0] != steps:
                raise DatasetError(
                    f"Expected {name} with {axes} axes and {steps} rows, one a step, got "
                    f"{array.shape}. Embed the demonstrations again."
                )
            if array.dtype != np.float32:
                raise DatasetError(f"Expected float32 {name}, got {array.dtype}.")
            # min and max see every NaN and infinity without a mask as large as the array.
            if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
                raise DatasetError(
                    f"{name} holds values that are not finite; the encoder or the demonstrations "
                    "are damaged (check with: python -m egodtm_robot.demos.verify)."
                )

    @classmethod
    def from_store(
        cls,
        store: DemonstrationStore,
        features: Mapping[str, np.ndarray],
        grids: Mapping[str, tuple[int, int] | None],
        encoder_fingerprint: str,
        episodes: int | None = None,
    ) -> "CachedFeatureDataset":
        """The first ``episodes`` demonstrations of a store with their features.

        Args:
            store: open in either mode.
            features: (N, L, D) a camera, of all the store's steps or at least the first ones.
            grids: see the class.
            encoder_fingerprint: of what made the features.
            episodes: how many; None takes all.

        Raises:
            DatasetError: the store holds fewer, or the features do not fit it.
        """
        available = int(store.num_episodes)
        episodes = available if episodes is None else episodes
        if not 1 <= episodes <= available:
            raise DatasetError(
                f"Expected at least {episodes} demonstrations, the store holds {available}. "
                "Collect more, or lower demos.episodes."
            )
        offsets = np.asarray(store.episode_offsets, dtype=np.int64)[: episodes + 1]
        steps = int(offsets[-1])
        rows = store.steps(slice(0, steps), ("proprioception", "actions"))
        # Of these episodes alone: a store that grows must not end a run that has begun.
        identity = f"{store.prefix_fingerprint(episodes)}:{encoder_fingerprint}"
        return cls(
            proprioception=np.asarray(rows["proprioception"], dtype=np.float32),
            features={
                camera: np.ascontiguousarray(array[:steps], dtype=np.float32)
                for camera, array in features.items()
            },
            actions=np.asarray(rows["actions"], dtype=np.float32),
            episode_offsets=offsets,
            grids=dict(grids),
            fingerprint=hashlib.sha256(identity.encode()).hexdigest()[:16],
        )

    @property
    def num_episodes(self) -> int:
        """E."""
        return len(self.episode_offsets) - 1

    @property
    def spec(self) -> PolicySpec:
        """The shapes that a policy for this data reads and writes."""
        return PolicySpec(
            proprioception=self.proprioception.shape[1],
            actions=self.actions.shape[1],
            features={
                camera: FeatureShape(array.shape[1], array.shape[2], self.grids[camera])
                for camera, array in self.features.items()
            },
        )


@dataclass(frozen=True)
class PolicyCheckpoint:
    """A policy that training wrote.

    Attributes:
        step: gradient steps it has seen.
        path: its folder, for :func:`policies.checkpoints.load_policy`.
        train_loss: mean over the steps since the loss was last written down, standardised units.
        validation_loss: over the held-out episodes; None without any.
    """

    step: int
    path: Path
    train_loss: float
    validation_loss: float | None


@dataclass(frozen=True)
class TrainResult:
    """What came of :func:`train`.

    Attributes:
        policy: at the last step, in evaluation mode.
        checkpoints: in order of steps; never empty.
        seconds: spent training in this call.
        resumed_step: where this call began, 0 for a fresh run.
    """

    policy: MLPPolicy
    checkpoints: tuple[PolicyCheckpoint, ...]
    seconds: float
    resumed_step: int


def split_episodes(episodes: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole episodes for training and for validation.

    Args:
        episodes: how many there are.
        fraction: share held out; rounded, at least one if positive and two episodes exist.
        seed: of the choice.

    Returns:
        int64 indices of training and of validation episodes, ascending and disjoint.
    """
    held_out = round(episodes * fraction)
    if fraction > 0 and episodes > 1:
        held_out = min(max(held_out, 1), episodes - 1)
    order = np.random.default_rng([seed, 1]).permutation(episodes)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def train(
    config: BehaviorCloningConfig,
    policy_config: MLPPolicyConfig,
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

    Writes ``out_dir/step_<n>/policy.{safetensors,json}`` for each checkpoint and
    ``out_dir/resume/`` to go on from. Called again with the same arguments it continues from the
    last saved step and ends with the same weights; called after the end it trains nothing.

    Args:
        config: how to train.
        policy_config: what to train.
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
    with _threads(config.threads):
        return _Trainer(
            config, policy_config, dataset, out_dir, seed, torch.device(device), provenance or {}
        ).run(event_dir, progress)


class _Trainer:
    """One run: its data, its policy, its optimiser, and how far it is."""

    def __init__(
        self,
        config: BehaviorCloningConfig,
        policy_config: MLPPolicyConfig,
        dataset: CachedFeatureDataset,
        out_dir: Path,
        seed: int,
        device: torch.device,
        provenance: Mapping[str, Any],
    ) -> None:
        self.config = config
        self.out_dir = out_dir
        self.resume_dir = out_dir / "resume"
        self.seed = seed
        self.device = device
        self.provenance = provenance
        self.identity = _identity(config, policy_config, dataset, seed)

        training, validation = split_episodes(
            dataset.num_episodes, config.validation_fraction, seed
        )
        self.policy = make_policy(
            policy_config, dataset.spec, torch.Generator().manual_seed(_mix(seed, 0))
        )
        training_data = _Tensors(dataset, training, policy_config)
        self.policy.fit_statistics(training_data.observation, training_data.raw_actions)
        self.policy.to(device)
        self.training = _Minibatches(training_data, self.policy)
        self.validation = (
            _Minibatches(_Tensors(dataset, validation, policy_config), self.policy)
            if len(validation)
            else None
        )
        self.batch_size = min(config.batch_size, self.training.rows)
        if self.batch_size < 2:
            raise DatasetError("Expected at least two steps to train on, got one. Collect more.")
        self.optimizer = _make_optimizer(self.policy, config)
        self.step = 0
        self.train_loss = math.nan
        self.checkpoints: list[PolicyCheckpoint] = []

    def run(
        self, event_dir: Path | None, progress: Callable[[int, int, float], None] | None
    ) -> TrainResult:
        config = self.config
        self._resume()
        resumed_step = self.step
        writer = _event_writer(event_dir, self.step) if self.step < config.steps else None
        checkpoint_steps = set(config.checkpoint_steps())
        losses = torch.zeros((), device=self.device)
        counted = 0
        noise = torch.Generator(self.device)
        started = time.perf_counter()
        self.policy.train()
        try:
            for indices in self._order():
                rate = learning_rate(config, self.step)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                noise.manual_seed(_mix(self.seed, -1 - self.step))
                loss = self.training.loss(indices, noise)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()
                losses += loss.detach()
                counted += 1
                self.step += 1

                # Everything below happens at steps that a resumed run meets as well.
                checkpoint = self.step in checkpoint_steps
                validate = self.step % config.validate_every == 0
                save = self.step % config.save_every == 0 or self.step == config.steps
                if not (checkpoint or validate or save):
                    continue
                self.train_loss = float(losses) / counted
                self._guard(counted)
                losses.zero_()
                counted = 0
                validation_loss = self._validate() if checkpoint or validate else None
                if writer is not None:
                    writer.add_scalar("train/loss", self.train_loss, self.step)
                    writer.add_scalar("train/learning_rate", rate, self.step)
                    if validation_loss is not None:
                        writer.add_scalar("validation/loss", validation_loss, self.step)
                if progress is not None:
                    progress(self.step, config.steps, self.train_loss)
                if checkpoint:
                    self._write_checkpoint(validation_loss)
                if save:
                    self._save()
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

    def _order(self) -> Iterator[Tensor]:
        """Row indices of each minibatch from the present step to the last."""
        rows, size = self.training.rows, self.batch_size
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

    def _guard(self, counted: int) -> None:
        if not math.isfinite(self.train_loss):
            raise TrainingDivergedError(
                f"Expected a finite training loss, got {self.train_loss} between steps "
                f"{self.step - counted + 1} and {self.step}. Lower the learning rate "
                f"(it is {self.config.learning_rate}) or look at the features' scale; the last "
                f"state saved is in {self.resume_dir}."
            )

    @torch.no_grad()
    def _validate(self) -> float | None:
        if self.validation is None:
            return None
        self.policy.eval()
        total = 0.0
        rows = torch.arange(self.validation.rows, device=self.device)
        for part in rows.split(_EMBEDDED_AT_ONCE):
            total += float(self.validation.loss(part)) * len(part)
        self.policy.train()
        return total / self.validation.rows

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

    def _save(self) -> None:
        record = {
            "train_loss": self.train_loss,
            "checkpoints": [
                [c.step, c.path.name, c.train_loss, c.validation_loss] for c in self.checkpoints
            ],
        }
        self._states.save(self.step, self.policy, self.optimizer, record)

    def _resume(self) -> None:
        record = self._states.restore(self.policy, self.optimizer)
        if record is not None:
            self.step = record["step"]
            self.train_loss = record["train_loss"]
            self.checkpoints = [
                PolicyCheckpoint(step, self.out_dir / name, train_loss, validation_loss)
                for step, name, train_loss, validation_loss in record["checkpoints"]
            ]

    @property
    def _states(self) -> TrainingStates:
        return TrainingStates(self.resume_dir, self.identity)


class _Tensors:
    """The chosen episodes as tensors, with the windows and targets of every step."""

    def __init__(
        self, dataset: CachedFeatureDataset, episodes: np.ndarray, config: MLPPolicyConfig
    ) -> None:
        offsets = dataset.episode_offsets
        lengths = np.diff(offsets)[episodes]
        rows = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in episodes])
        arrays = {PROPRIOCEPTION: dataset.proprioception}
        arrays |= {FEATURES_PREFIX + camera: a for camera, a in dataset.features.items()}
        everything = len(rows) == len(dataset.actions)
        # Not copied where all episodes are used: features can fill most of the memory.
        self.observation = {
            name: torch.from_numpy(array if everything else array[rows])
            for name, array in arrays.items()
        }
        self.raw_actions = torch.from_numpy(dataset.actions[rows])
        starts = np.repeat(np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        ends = np.repeat(np.cumsum(lengths), lengths)
        step = np.arange(len(rows))[:, None]
        past = np.arange(-config.history + 1, 1)[None]
        self.windows = torch.from_numpy(np.maximum(step + past, starts[:, None]))
        future = step + np.arange(config.action_chunk)[None]
        self.targets = torch.from_numpy(np.minimum(future, ends[:, None] - 1))
        self.valid = torch.from_numpy(future < ends[:, None])


class _Minibatches:
    """Losses of chosen rows, with everything computed in advance that does not learn."""

    def __init__(self, tensors: _Tensors, policy: MLPPolicy) -> None:
        device = policy.device
        self.policy = policy
        self.rows = len(tensors.raw_actions)
        self.observation = {name: t.to(device) for name, t in tensors.observation.items()}
        actions = policy.action_statistics(tensors.raw_actions.to(device))
        self.actions = actions[tensors.targets.to(device)]
        self.valid = tensors.valid.to(device) if policy.chunk > 1 else None
        self.windows = tensors.windows.to(device) if policy.history > 1 else None
        self.embedded: Tensor | None = None
        if policy.embedding_is_fixed:
            with torch.no_grad():
                parts = zip(
                    *(t.split(_EMBEDDED_AT_ONCE) for t in self.observation.values()), strict=True
                )
                self.embedded = torch.cat(
                    [policy.embed(dict(zip(self.observation, part, strict=True))) for part in parts]
                )
            self.observation = {}

    def loss(self, indices: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Mean squared error of standardised actions over the rows ``indices``."""
        predicted = self.policy(self._inputs(indices), noise)
        wanted = self.actions.index_select(0, indices)
        if self.valid is None:
            return functional.mse_loss(predicted, wanted)
        valid = self.valid.index_select(0, indices)
        errors = (predicted - wanted).square().mean(2) * valid
        return errors.sum() / valid.sum()

    def _inputs(self, indices: Tensor) -> Tensor:
        frames = indices if self.windows is None else self.windows.index_select(0, indices).ravel()
        if self.embedded is not None:
            embedded = self.embedded.index_select(0, frames)
        else:
            embedded = self.policy.embed(
                {name: t.index_select(0, frames) for name, t in self.observation.items()}
            )
        return embedded if self.windows is None else embedded.view(len(indices), -1)


def _make_optimizer(policy: MLPPolicy, config: BehaviorCloningConfig) -> torch.optim.Optimizer:
    matrices = [p for p in policy.parameters() if p.ndim > 1]
    vectors = [p for p in policy.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        fused=True,
    )


def _identity(
    config: BehaviorCloningConfig,
    policy_config: MLPPolicyConfig,
    dataset: CachedFeatureDataset,
    seed: int,
) -> dict[str, Any]:
    """Everything that decides the weights, as JSON gives it back."""
    settings = dataclasses.asdict(config)
    settings |= {f"policy.{k}": v for k, v in dataclasses.asdict(policy_config).items()}
    settings |= {"seed": seed, "dataset": dataset.fingerprint, "spec": dataset.spec.to_json()}
    settings["torch"] = torch.__version__
    return json.loads(json.dumps(settings))


def _mix(seed: int, stream: int) -> int:
    """One 63-bit seed for each (seed, stream), far from its neighbours'."""
    digest = hashlib.sha256(f"{seed}:{stream}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _event_writer(event_dir: Path | None, step: int) -> Any:
    if event_dir is None:
        return None
    # Imported here: it takes a second that a run without events need not wait.
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(event_dir), purge_step=step or None)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
