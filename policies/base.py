"""The contract of policies: a loss to train by, a plan to act by, and SB3's ``predict`` on both."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from egodtm_robot.core.constant_batches import constant_batches
from egodtm_robot.core.errors import ConfigurationError, ObservationError, PolicyOptionError
from egodtm_robot.core.history import advance_windows
from egodtm_robot.core.seeding import hashed_seed
from egodtm_robot.core.training.identity import ADDED_LATER
from policies.ensembling import TemporalEnsemble
from policies.sampling import RowGenerators
from policies.spec import FEATURES_PREFIX, PROPRIOCEPTION, PolicySpec

INFERENCE_BATCH = 16
"""Rows that a policy always computes at once when it acts, see
:mod:`egodtm_robot.core.constant_batches`."""

ActionLoss = Literal["mse", "l1"]
"""How errors of actions count: squared or absolute."""

PolicyState = dict[str, np.ndarray]
"""What a policy remembers between steps; every array has one row an environment."""

_FRAMES = "frames/"
_PLAN = "plan"
_CURSOR = "cursor"
_SEED = "seed"


@dataclass
class PolicyConfig:
    """Settings that every policy has; a policy with further ones extends this class."""

    history: int = 1
    """Frames that an action is computed from."""

    action_chunk: int = 1
    """Actions predicted at once and executed before the next look."""

    execute: int | None = field(default=None, metadata=ADDED_LATER)
    """Actions of a chunk that are executed before the next look; null for all of them. Diffusion
    policies execute half of what they plan (Chi et al., arXiv 2303.04137)."""

    ensemble: float | None = field(default=None, metadata=ADDED_LATER)
    """Temporal ensembling (Zhao et al., arXiv 2304.13705): look at every step, and act by the mean
    of all plans made for it, where the i-th oldest weighs exp(-ensemble * i). 0 weighs all alike,
    a positive number prefers older plans, a negative one newer plans; theirs is 0.01. Null executes
    one chunk after the other."""

    chunk_discount: float = field(default=1.0, metadata=ADDED_LATER)
    """In training, the weight of each action of a chunk relative to the one before it. Where later
    actions depend on what is not seen yet, a policy that has to guess them all learns the first one
    less well; at 0.3 the first has 70 % of the weight of a chunk of four."""

    def __post_init__(self) -> None:
        for name in ("history", "action_chunk"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Expected policy.{name} >= 1, got {getattr(self, name)}.")
        if self.execute is not None and not 1 <= self.execute <= self.action_chunk:
            raise ConfigurationError(
                f"Expected policy.execute from 1 to policy.action_chunk = {self.action_chunk}, or "
                f"null for all of them, got {self.execute}."
            )
        if not 0 <= self.chunk_discount <= 1:
            raise ConfigurationError(
                f"Expected policy.chunk_discount from 0 to 1, got {self.chunk_discount}."
            )
        if self.ensemble is not None:
            if not math.isfinite(self.ensemble):
                raise ConfigurationError(
                    f"Expected a finite policy.ensemble, or null, got {self.ensemble}."
                )
            if self.execute is not None:
                raise ConfigurationError(
                    f"Expected policy.execute=null beside policy.ensemble={self.ensemble}, which "
                    f"looks at every step, got {self.execute}."
                )


@dataclass(frozen=True)
class Batch:
    """Demonstrated steps, as a policy learns from them.

    Attributes:
        observation: what :meth:`Policy.precompute` made of the last T frames, (B, T, ...) under
            each name, the oldest first. T is ``history``; an episode's first frame is repeated.
        actions: float32 (B, C, A) in [-1, 1], the action of the last frame and those after it. C is
            ``action_chunk``; past the episode's end its last action is repeated.
        valid: bool (B, C), False past the episode's end.
    """

    observation: Mapping[str, Tensor]
    actions: Tensor
    valid: Tensor

    def __len__(self) -> int:
        """B."""
        return len(self.actions)


class Policy(nn.Module, ABC):
    """Features and proprioception in, actions out.

    A subclass says its ``kind`` and defines :meth:`plan` and :meth:`loss`. It may also take
    statistics of the demonstrations (:meth:`fit_statistics`), compute in advance what does not
    change in training (:meth:`precompute`), or learn without gradients (:meth:`fit`).
    :meth:`predict` adds memory, the execution of chunks, and the limits [-1, 1].

    Args:
        config: an object of the class's ``config_class``.
        spec: shapes of inputs and actions.

    Attributes:
        kind: the name that checkpoints carry. It outlives the class's import path.
        version: raised when the weights or the configuration of ``kind`` come to mean something
            else; a checkpoint of another version is refused.
        config_class: the dataclass of the policy's options.
        samples: whether :meth:`plan` draws random numbers.
        precompute_is_fixed: whether :meth:`precompute` has nothing to learn by gradients, so that
            training calls it once for all frames.
        history: frames T that an action is computed from.
        chunk: actions C planned at once.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    config_class: ClassVar[type[PolicyConfig]] = PolicyConfig
    samples: ClassVar[bool] = False
    precompute_is_fixed: bool = True

    def __init__(self, config: PolicyConfig, spec: PolicySpec) -> None:
        super().__init__()
        self.config = config
        self.spec = spec
        self.history = config.history
        self.chunk = config.action_chunk
        self._executed = config.execute or config.action_chunk
        self._ensemble = (
            None if config.ensemble is None else TemporalEnsemble(self.chunk, config.ensemble)
        )

    # -- what a policy defines -------------------------------------------------------------------

    @abstractmethod
    def loss(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """How far the policy is from demonstrated steps.

        Args:
            batch: what was demonstrated.
            generator: draws the noise of training, if there is any; None for a loss without noise.

        Returns:
            The scalar that training lowers, and the parts that are worth watching, by name.
        """

    @abstractmethod
    def plan(
        self, observation: Mapping[str, Tensor], generator: RowGenerators | None = None
    ) -> Tensor:
        """The next actions.

        Args:
            observation: see :class:`Batch`; without a ``precompute`` of its own a policy reads
                ``proprioception`` (B, T, P) and ``features/<camera>`` (B, T, L, D).
            generator: draws for each row by itself; None for a policy that does not sample.

        Returns:
            float32 (B, C, A); :meth:`predict` clips them to [-1, 1].
        """

    def precompute(self, observation: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What can be computed of each frame by itself.

        A rollout calls it once for every frame, training once for all frames if
        ``precompute_is_fixed``, and otherwise for the frames of every minibatch.

        Args:
            observation: ``proprioception`` (B, P) and ``features/<camera>`` (B, L, D).

        Returns:
            Tensors (B, ...) under names of the policy's choice.
        """
        return observation

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the weights from ``generator``; called once on a new policy.

        A policy that leaves this out keeps what its constructor drew, which
        :func:`make_policy` makes a function of the generator's seed too.
        """

    def fit_statistics(self, observation: Mapping[str, Tensor], actions: Tensor) -> None:
        """Take statistics of all demonstrated frames (N, ...) and actions (N, A), before training.

        It comes before any call of :meth:`precompute`. By default there are none to take.
        """

    def fit(self, batches: Iterable[Batch]) -> None:
        """Learn without gradients from every demonstrated step once; before gradient steps, if any.

        Args:
            batches: all steps in the order in which they were demonstrated.
        """

    def optimized_parameters(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Names and weights that gradient steps change; none for a policy that only fits."""
        return self.named_parameters()

    def resize_buffers(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Give buffers whose size the demonstrations decide the shapes that a checkpoint holds.

        Args:
            shapes: of all tensors of the checkpoint, by name. They are not checked yet.
        """

    # -- how chunks are executed -----------------------------------------------------------------

    def plan_is_due(self, memory: PolicyState, starts: np.ndarray) -> np.ndarray:
        """Which rows need a new plan, bool (B,): by default those whose chunk has been executed.

        With temporal ensembling all rows do.

        Args:
            memory: what :meth:`execute` returned at the step before; empty at the start.
            starts: bool (B,), where an episode begins.
        """
        if _CURSOR not in memory:
            return np.ones(len(starts), dtype=bool)
        return starts | (memory[_CURSOR] >= self._executed)

    def execute(
        self, plans: np.ndarray, due: np.ndarray, memory: PolicyState, starts: np.ndarray
    ) -> tuple[np.ndarray, PolicyState]:
        """Choose this step's actions, by default one of the chunk after the other.

        With temporal ensembling it is the mean of all plans for this step.

        Args:
            plans: float32 (B, C, A) in [-1, 1]; rows that are not due hold zeros.
            due: bool (B,), which rows were planned now.
            memory: see :meth:`plan_is_due`.
            starts: bool (B,), where an episode begins.

        Returns:
            Actions (B, A), and the memory for the next step, each array with one row an
            environment.
        """
        if self._ensemble is not None:
            return self._ensemble.act(plans, memory, starts)
        if self._executed == 1:
            return plans[:, 0], {}
        cursor = np.zeros(len(plans), dtype=np.int64)
        if _PLAN in memory:
            plans[~due] = memory[_PLAN][~due]
            cursor[~due] = memory[_CURSOR][~due]
        return plans[np.arange(len(plans)), cursor], {_PLAN: plans, _CURSOR: cursor + 1}

    # -- what every policy does ------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU for a policy without any."""
        tensors = itertools.chain(self.parameters(), self.buffers())
        return next((tensor.device for tensor in tensors), torch.device("cpu"))

    def tensors(self, observation: Mapping[str, Any]) -> dict[str, Tensor]:
        """Check a batch of observations and bring it to the policy's device.

        Args:
            observation: ``proprioception`` (B, P) and ``features/<camera>`` (B, L, D); arrays or
                tensors; other keys are ignored.

        Returns:
            float32 tensors of what the policy reads, in its own order.

        Raises:
            ObservationError: a key is missing or a shape is wrong.
        """
        expected: dict[str, tuple[int, ...]] = {PROPRIOCEPTION: (self.spec.proprioception,)}
        for camera, shape in self.spec.features.items():
            expected[FEATURES_PREFIX + camera] = (shape.tokens, shape.dimension)
        missing = [key for key in expected if key not in observation]
        if missing:
            raise ObservationError(
                f"The policy reads {', '.join(expected)}, but the observation has no "
                f"{', '.join(missing)}; it holds {', '.join(map(str, observation)) or 'nothing'}. "
                "Give the environment the cameras and the encoder that the policy was trained on."
            )
        tensors: dict[str, Tensor] = {}
        rows = None
        for key, wanted in expected.items():
            tensor = torch.as_tensor(observation[key], dtype=torch.float32, device=self.device)
            if tensor.ndim == 0 or tuple(tensor.shape[1:]) != wanted:
                axes = ", ".join(map(str, ("B", *wanted)))
                raise ObservationError(
                    f"Expected {key} of shape ({axes}), got {tuple(tensor.shape)}."
                )
            if rows is not None and tensor.shape[0] != rows:
                raise ObservationError(
                    f"Expected one batch size in all observations, got {rows} rows of "
                    f"{PROPRIOCEPTION} and {tensor.shape[0]} of {key}."
                )
            rows = tensor.shape[0]
            tensors[key] = tensor
        return tensors

    @torch.inference_mode()
    def predict(
        self,
        observation: Mapping[str, Any],
        state: PolicyState | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, PolicyState | None]:
        """Actions for a batch of observations, as Stable-Baselines3 asks for them.

        Args:
            observation: see :meth:`tensors`; one observation without batch axis is allowed.
            state: what the last call returned, None at the start.
            episode_start: bool (B,), True where an episode begins and its memory is to be
                forgotten; None means nowhere (everywhere without ``state``).
            deterministic: of no effect on a policy that does not sample. One that does draws the
                same numbers for every plan if True, so that its actions are a function of what it
                sees; if False, others for every plan, which follow from the episode's first frame.

        Returns:
            float32 actions (B, A) in [-1, 1], or in the robot's own units where the policy's
            specification has an ``action_range``; and the state for the next call: None for a
            policy that remembers nothing.

        Raises:
            ObservationError: a key is missing or a shape is wrong.
        """
        self.eval()
        single = np.ndim(observation.get(PROPRIOCEPTION, np.zeros((1, 1)))) == 1
        if single:
            observation = {key: value[None] for key, value in observation.items()}
        frames = self._precompute_frames(self.tensors(observation))
        rows = len(next(iter(frames.values())))
        starts = np.zeros(rows, dtype=bool) if state is not None else np.ones(rows, dtype=bool)
        if episode_start is not None:
            starts = starts | np.asarray(episode_start, dtype=bool).reshape(rows)
        before = state or {}
        due = self.plan_is_due(before, starts)

        windows, memory = self._windows(frames, before, starts)
        seeds = None
        if self.samples:
            seeds = np.zeros(rows, dtype=np.int64)
            if not deterministic:
                seeds = _next_seeds(frames, before.get(_SEED), due, starts)
                memory[_SEED] = seeds
        plans = np.zeros((rows, self.chunk, self.spec.actions), dtype=np.float32)
        if due.any():
            plans[due] = self._plan_rows(windows, due, seeds)
        actions, executed = self.execute(plans, due, before, starts)
        if self.spec.action_range is not None:
            actions = self.spec.action_range.restore(actions)
        memory |= executed
        return (actions[0] if single else actions), (memory or None)

    def _precompute_frames(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rows = len(next(iter(observation.values())))
        parts = [
            self.precompute(batch) for batch, _ in constant_batches(observation, INFERENCE_BATCH)
        ]
        return {name: torch.cat([part[name] for part in parts])[:rows] for name in parts[0]}

    def _windows(
        self, frames: Mapping[str, Tensor], before: PolicyState, starts: np.ndarray
    ) -> tuple[dict[str, Tensor], PolicyState]:
        """The last T frames (B, T, ...), and what is to be remembered of them."""
        if self.history == 1:
            return {name: frame[:, None] for name, frame in frames.items()}, {}
        memory = {
            _FRAMES + name: advance_windows(
                before.get(_FRAMES + name), frame.cpu().numpy(), starts, self.history
            )
            for name, frame in frames.items()
        }
        windows = {
            name: torch.from_numpy(memory[_FRAMES + name]).to(self.device) for name in frames
        }
        return windows, memory

    def _plan_rows(
        self, windows: Mapping[str, Tensor], due: np.ndarray, seeds: np.ndarray | None
    ) -> np.ndarray:
        """Plans (b, C, A) in [-1, 1] of the b rows that are due."""
        chosen = torch.from_numpy(np.flatnonzero(due)).to(self.device)
        inputs = {name: window.index_select(0, chosen) for name, window in windows.items()}
        plans = []
        expected = (INFERENCE_BATCH, self.chunk, self.spec.actions)
        for batch, rows in constant_batches(inputs, INFERENCE_BATCH):
            generator = None
            if seeds is not None:
                padded = np.zeros(INFERENCE_BATCH, dtype=np.int64)
                padded[: rows.stop - rows.start] = seeds[due][rows]
                generator = RowGenerators(padded, self.device)
            plan = self.plan(batch, generator)
            if tuple(plan.shape) != expected:
                raise PolicyOptionError(
                    f"Expected {type(self).__name__}.plan to give actions of shape {expected} "
                    f"(rows, action_chunk, actions), got {tuple(plan.shape)}."
                )
            plans.append(plan[: rows.stop - rows.start])
        return torch.cat(plans).clamp(-1.0, 1.0).cpu().numpy()


def make_policy(
    policy_class: type[Policy],
    config: PolicyConfig,
    spec: PolicySpec,
    generator: torch.Generator,
) -> Policy:
    """A policy whose weights come from ``generator`` alone.

    What a constructor draws from PyTorch's global generator follows from the seed of ``generator``
    too, and the global one is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        policy = policy_class(config, spec)
    policy.initialize(generator)
    return policy


def action_error(
    predicted: Tensor,
    wanted: Tensor,
    valid: Tensor,
    loss: ActionLoss = "mse",
    discount: float = 1.0,
) -> Tensor:
    """Mean error of actions (B, C, A), over what lies within the episodes.

    Args:
        predicted: actions (B, C, A).
        wanted: actions of the same shape.
        valid: bool (B, C), what lies within the episodes.
        loss: absolute or squared errors.
        discount: weight of each action relative to the one before it,
            :attr:`PolicyConfig.chunk_discount`.

    Returns:
        A scalar.
    """
    elementwise = nn.functional.mse_loss if loss == "mse" else nn.functional.l1_loss
    if valid.shape[1] == 1:  # the present step always does
        return elementwise(predicted, wanted)
    places = torch.arange(valid.shape[1], device=valid.device)
    weights = valid if discount == 1 else valid * discount**places
    errors = elementwise(predicted, wanted, reduction="none").mean(2) * weights
    return errors.sum() / weights.sum()


def _next_seeds(
    frames: Mapping[str, Tensor], seeds: np.ndarray | None, due: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    """Seeds int64 (B,) for the rows that are to be planned; the others keep theirs."""
    result = np.zeros(len(due), dtype=np.int64) if seeds is None else seeds.copy()
    for row in np.flatnonzero(due):
        if seeds is None or starts[row]:
            content = b"".join(frame[row].cpu().numpy().tobytes() for frame in frames.values())
        else:
            content = result[row].tobytes()
        result[row] = hashed_seed(content)
    return result
