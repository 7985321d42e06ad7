"""How a policy is trained, chosen and evaluated: the ``protocol`` group of the configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.seeding import Split, episode_seeds
from egodtm_robot.core.training.identity import NOT_DECISIVE, decisive
from egodtm_robot.learning.behavior_cloning import BehaviorCloningConfig, PolicyCheckpoint

Selection = Literal["last", "validation", "success"]

_HASHED_SPLITS: tuple[Split, ...] = ("demonstrations", "selection", "final", "tuning")
"""Splits whose seeds enter the hash: those that a protocol had when the first one was frozen."""

_ADDED_SETTINGS: Mapping[str, Any] = {"further_looks": []}
"""Settings that came after a protocol was frozen, with the value that changes nothing. They enter
the hash where they have another, so that a new setting renames no protocol."""


@dataclass
class ProtocolConfig:
    """A protocol; ``protocol=<name>`` fills it from ``configs/protocol/``."""

    name: str = "quick"
    """As in ``protocol=``."""

    visual: str = field(default="fixed", metadata=NOT_DECISIVE)
    """Appearance preset of the environment where ``env.visual`` does not say; of no effect on
    environments that have one look. What decides a run is ``env.visual``, which it fills."""

    further_looks: list[str] = field(default_factory=list)
    """Appearance presets under which the run's policy meets its final episodes once more, on the
    same seeds: what another look costs is then a paired difference. Needs an environment that has
    these looks."""

    demonstrations: int = 50
    """Episodes to learn from where ``demos.episodes`` does not say."""

    training: BehaviorCloningConfig = field(default_factory=BehaviorCloningConfig)
    """The optimization."""

    selection: Selection = "last"
    """Which checkpoint is the run's policy. ``last``: the end of training, sound under a cosine
    schedule. ``validation``: least loss on held-out demonstrations. ``success``: most successes
    in ``selection_episodes`` rollouts."""

    selection_episodes: int = 0
    """Rollouts of each checkpoint during training, 0 for none; needed by ``selection=success``."""

    fresh_selection_seeds: bool = False
    """Whether each checkpoint meets episodes of its own, as R3M's do, or all meet the same, which
    compares them with less noise."""

    report_maximum: bool = False
    """Whether the best checkpoint's selection rate is reported as well, as R3M reports it. A
    maximum over noisy rates is inflated, by 10 to 13 points for 20 checkpoints of 50 episodes."""

    final_episodes: int = 50
    """Rollouts of the chosen policy on fresh seeds. The rate that counts: the 95 % interval is
    +-13 points for 50 episodes, +-7 for 200, +-4.4 for 500."""

    def __post_init__(self) -> None:
        if len(set(self.further_looks)) < len(self.further_looks):
            raise ConfigurationError(
                f"Expected each of protocol.further_looks once, got {self.further_looks}."
            )
        if self.demonstrations < 1 or self.final_episodes < 1 or self.selection_episodes < 0:
            raise ConfigurationError(
                "Expected protocol.demonstrations and protocol.final_episodes >= 1 and "
                f"protocol.selection_episodes >= 0, got {self.demonstrations}, "
                f"{self.final_episodes} and {self.selection_episodes}."
            )
        rollouts_needed = self.selection == "success" or self.report_maximum
        if rollouts_needed and self.selection_episodes == 0:
            raise ConfigurationError(
                "protocol.selection=success and protocol.report_maximum need rollouts of each "
                "checkpoint; set protocol.selection_episodes."
            )
        if self.selection == "validation" and self.training.validation_fraction == 0:
            raise ConfigurationError(
                "protocol.selection=validation needs held-out demonstrations; set "
                "protocol.training.validation_fraction."
            )

    def selection_seeds(self, seed: int, checkpoint: int) -> np.ndarray:
        """Episode seeds for the rollouts of a checkpoint.

        Args:
            seed: the run's.
            checkpoint: its index among the run's checkpoints.
        """
        start = checkpoint * self.selection_episodes if self.fresh_selection_seeds else 0
        return episode_seeds("selection", seed, self.selection_episodes, start)

    def choose(
        self, checkpoints: Sequence[PolicyCheckpoint], successes: Sequence[int] | None = None
    ) -> int:
        """Index of the checkpoint that is the run's policy; of equals the latest.

        Args:
            checkpoints: in order of steps, at least one.
            successes: in the rollouts of each, where ``selection`` is ``success``.
        """
        last = len(checkpoints) - 1
        if self.selection == "last":
            return last
        if self.selection == "success":
            assert successes is not None
            assert len(successes) == len(checkpoints)
            return max(range(len(checkpoints)), key=lambda i: (successes[i], i))
        losses = [checkpoint.validation_loss for checkpoint in checkpoints]
        # A single demonstration leaves none to hold out.
        known = [i for i, loss in enumerate(losses) if loss is not None]
        return min(known, key=lambda i: (losses[i], -i), default=last)


def protocol_hash(protocol: ProtocolConfig, demonstrations: Mapping[str, Any], split: Split) -> str:
    """A short name for all that a protocol stands for, whatever it is called.

    It covers every setting of the protocol, the demonstrations and the seeds of all episodes. It
    does not cover the environment: its looks and resets have hashes of their own
    (:attr:`envs.options.EnvironmentConfig.preset_hashes`).

    Args:
        protocol: its settings. Its name does not count, nor the look and the number of
            demonstrations that it proposes: what was chosen counts.
        demonstrations: ``episodes``, ``noise`` and ``seed`` of those that were learned from.
        split: of the final episodes.
    """
    settings = decisive(protocol)
    for name in ("name", "demonstrations"):
        del settings[name]
    for name, value in _ADDED_SETTINGS.items():
        if settings[name] == value:
            del settings[name]
    learned_from = {name: demonstrations[name] for name in ("episodes", "noise", "seed")}
    # Where each split of each run seed begins: a change of the scheme shows in these.
    seeds = [int(episode_seeds(one, seed, 1)[0]) for one in _HASHED_SPLITS for seed in (0, 1)]
    return hash_parts(settings, learned_from, split, seeds)
