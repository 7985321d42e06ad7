"""The way of a comparison that stops as soon as it is decided, from the episodes that are there.

After each run seed that an arm and the reference have under every condition, one block, the mean
difference of the pair, goes into an e-process
(:class:`~egodtm_robot.comparison.inference.sequential.PairedEProcess`). The way depends on the
episodes and the order of the seeds alone, so a grid that was interrupted comes to the same
decision, and finished runs can be replayed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from egodtm_robot.comparison.arms import Arm
from egodtm_robot.comparison.differences import pair
from egodtm_robot.comparison.inference.sequential import PairedEProcess, Verdict
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError


@dataclass(frozen=True)
class Block:
    """What one run seed says of a pair.

    Attributes:
        run_seed: of both arms.
        difference: arm minus reference, the mean over conditions of the mean over shared episodes.
        e_better: evidence that the arm is better, after this block.
        e_worse: evidence that the reference is better.
        e_level: evidence that they are level within the margin.
    """

    run_seed: int
    difference: float
    e_better: float
    e_worse: float
    e_level: float


@dataclass(frozen=True)
class PairPath:
    """The way of an arm against the reference.

    Attributes:
        arm: name of the arm.
        verdict: ``first`` if the arm is better, ``second`` if the reference is.
        blocks: those that were looked at, up to the decision.
    """

    arm: str
    verdict: Verdict
    blocks: tuple[Block, ...]

    @property
    def decided(self) -> bool:
        """Whether further runs of the arm would change nothing."""
        return self.verdict != "undecided"


@dataclass(frozen=True)
class SequentialPath:
    """The way of all arms against the reference.

    Attributes:
        reference: name of the arm that the others are compared with.
        margin: differences below it do not matter.
        alpha: level of the decisions over all pairs; each pair has an equal part.
        run_seeds: the whole budget, in the order of their runs.
        environments: in each of which a run seed has a training run.
        pairs: one for each other arm, in their order.
        episodes: of the runs that were needed.
    """

    reference: str
    margin: float
    alpha: float
    run_seeds: tuple[int, ...]
    environments: int
    pairs: tuple[PairPath, ...]
    episodes: int

    @property
    def active(self) -> frozenset[str]:
        """Arms whose next run seed is needed; the reference as long as any other is."""
        left = {
            path.arm
            for path in self.pairs
            if not path.decided and len(path.blocks) < len(self.run_seeds)
        }
        return frozenset(left | {self.reference}) if left else frozenset()

    @property
    def runs(self) -> int:
        """Runs that were needed."""
        seeds = [len(path.blocks) for path in self.pairs]
        return self.environments * (sum(seeds) + max(seeds))

    @property
    def fixed_runs(self) -> int:
        """Runs of the fixed design, in which every arm has every run seed."""
        return self.environments * (len(self.pairs) + 1) * len(self.run_seeds)

    @property
    def fixed_episodes(self) -> int:
        """Episodes of the fixed design, where its runs have as many as those that were needed."""
        return round(self.episodes * self.fixed_runs / self.runs) if self.runs else 0

    def to_markdown(self) -> str:
        """The decisions in a table, and what they saved in a sentence."""
        lines = [
            f"| against `{self.reference}` | decision | run seeds | difference at the end |",
            "|---|---|---|---|",
        ]
        for path in self.pairs:
            mean = sum(block.difference for block in path.blocks) / max(1, len(path.blocks))
            lines.append(
                f"| `{path.arm}` | {self._words(path)} | {len(path.blocks)} of "
                f"{len(self.run_seeds)} | {100 * mean:+.1f} |"
            )
        saved = ""
        if self.runs:
            share = 1 - self.runs / self.fixed_runs
            ending = "so far" if self.active else f"{share:.0%} saved"
            saved = (
                f"\n\nUsed {self.runs} of {self.fixed_runs} runs and {self.episodes} of "
                f"{self.fixed_episodes} episodes of the fixed design, {ending}. "
                f"The probability that any arm without a difference is called better or worse is "
                f"at most {self.alpha:g}, and so is that of calling any arm level that differs by "
                "the margin. A difference at the moment of a decision is larger than the true one "
                "on average."
            )
        return "\n".join(lines) + saved

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "reference": self.reference,
            "margin": self.margin,
            "alpha": self.alpha,
            "run_seeds": list(self.run_seeds),
            "runs": self.runs,
            "fixed_runs": self.fixed_runs,
            "episodes": self.episodes,
            "fixed_episodes": self.fixed_episodes,
            "pairs": [
                {
                    "arm": path.arm,
                    "verdict": _JSON_WORDS[path.verdict],
                    "run_seeds": len(path.blocks),
                    "blocks": [vars(block) for block in path.blocks],
                }
                for path in self.pairs
            ],
        }

    def _words(self, path: PairPath) -> str:
        if path.verdict == "undecided":
            return "undecided" if len(path.blocks) == len(self.run_seeds) else "not decided yet"
        if path.verdict == "equivalent":
            return f"level within {100 * self.margin:g} points"
        return "better" if path.verdict == "first" else "worse"


_JSON_WORDS = {"first": "better", "second": "worse", "equivalent": "level"} | {
    "undecided": "undecided"
}


def sequential_path(
    arms: Sequence[Arm],
    reference: str,
    run_seeds: Sequence[int],
    margin: float = 0.03,
    alpha: float = 0.05,
) -> SequentialPath:
    """Replay a sequential comparison on the runs that are there.

    Args:
        arms: with the reference among them. A run seed counts once both arms of a pair have it
            under every condition that any arm has met; the first one that is missing ends the
            pair's way for now.
        reference: name of the arm that the others are compared with.
        run_seeds: the budget, in the order of the runs.
        margin: differences below it do not matter; stated beforehand, in (0, 1).
        alpha: level of the decisions over all pairs, in (0, 1); each pair has an equal part.

    Raises:
        UnknownNameError: no arm has the reference's name.
        ConfigurationError: there are fewer than two arms.
        PairingError: two runs of the same seed and condition share no episodes.
    """
    by_name = {arm.name: arm for arm in arms}
    if reference not in by_name:
        raise UnknownNameError("arm", reference, list(by_name))
    if len(arms) < 2:
        raise ConfigurationError(
            f"Expected at least two arms to compare one after another, got {list(by_name)}."
        )
    conditions = {run.condition for arm in arms for run in arm.runs}
    others = [arm for arm in arms if arm.name != reference]
    needed: dict[str, set[int]] = {reference: set()}
    pairs = []
    for arm in others:
        process = PairedEProcess(alpha / len(others), margin)
        blocks = []
        for seed in run_seeds:
            both = _under_seed(arm, seed), _under_seed(by_name[reference], seed)
            whole = all({run.condition for run in one.runs} == conditions for one in both)
            if process.verdict != "undecided" or not whole or not conditions:
                break
            values = pair(*both).values.values()
            difference = float(sum(value.mean() for value in values) / len(values))
            process.add(difference)
            blocks.append(
                Block(seed, difference, process.e_first, process.e_second, process.e_equivalent)
            )
        pairs.append(PairPath(arm.name, process.verdict, tuple(blocks)))
        needed[arm.name] = {block.run_seed for block in blocks}
        needed[reference] |= needed[arm.name]
    episodes = sum(
        len(run.success) for arm in arms for run in arm.runs if run.run_seed in needed[arm.name]
    )
    environments = len({condition.environment for condition in conditions})
    return SequentialPath(
        reference, margin, alpha, tuple(run_seeds), environments, tuple(pairs), episodes
    )


def _under_seed(arm: Arm, run_seed: int) -> Arm:
    return Arm(arm.name, tuple(run for run in arm.runs if run.run_seed == run_seed))
