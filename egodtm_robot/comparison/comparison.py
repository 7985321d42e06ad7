"""The comparison of arms: one object that tables, pages and commands show.

Every number in it comes from rows of episodes. A difference is taken on the episodes that both arms
have met, and its interval holds training and episodes as chance. All pairs are tested, corrected
for their number, and each has a verdict.
"""

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from egodtm_robot.comparison.advice import advice
from egodtm_robot.comparison.arms import Arm, Condition, RunEpisodes
from egodtm_robot.comparison.differences import Measure, PairedDifferences, PairingError, pair
from egodtm_robot.comparison.inference.discordance import mcnemar_exact, tango_interval
from egodtm_robot.comparison.inference.equivalence import equivalence_p_value
from egodtm_robot.comparison.inference.estimate import MeanEstimate
from egodtm_robot.comparison.inference.letters import compact_letters
from egodtm_robot.comparison.inference.paired import paired_estimate
from egodtm_robot.comparison.inference.rates import success_rate_estimate, unpaired_estimate
from egodtm_robot.comparison.provenance import MixedRunsError, Provenance, shared_provenance
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.intervals import Interval, wilson_interval
from egodtm_robot.core.multiplicity import holm
from egodtm_robot.core.run_folder import json_values

VERSION = 1
"""Of :meth:`Comparison.to_json`; raised whenever an older reader would misread it."""

_PAIRS_NAMED = 3
"""In a note."""

Verdict = Literal["ahead", "behind", "equal", "undecided"]
"""Of the first arm of a pair. ``ahead`` and ``behind``: the difference is not 0, after correction
for the number of pairs. ``equal``: it is smaller than the margin, which was tested."""


@dataclass(frozen=True)
class Cell:
    """An arm under one condition, over all of its run seeds.

    Attributes:
        episodes: final episodes over the run seeds.
        successes: of them.
        interval: Wilson's, over episodes alone.
        run_rates: success rate by run seed.
    """

    episodes: int
    successes: int
    interval: Interval
    run_rates: Mapping[int, float]

    @property
    def rate(self) -> float:
        """Success rate over all episodes, in [0, 1]."""
        return self.successes / self.episodes


@dataclass(frozen=True)
class ArmResult:
    """A row of the table.

    Attributes:
        name: of the arm.
        cells: by condition, also under those that are not compared; absent without a run.
        run_seeds: those with a run under every compared condition, which the mean is over.
        mean: mean success rate over the compared conditions; None where ``run_seeds`` is empty.
        letters: two arms share a letter unless one is clearly ahead; empty without a mean.
        progress: mean over the same runs, every condition weighing the same, in [0, 1]; None where
            it is not known.
        solve_time: mean steps until solved, or taken where an episode never was, likewise.
        checkpoint_maximum: mean over the same runs of the largest success rate over a run's
            checkpoints, as R3M reports it; None unless all of them recorded it. What it exceeds
            ``mean`` by is its inflation.
        paired: whether its episodes have seeds, by which they are paired with other arms'.
    """

    name: str
    cells: Mapping[Condition, Cell]
    run_seeds: tuple[int, ...]
    mean: MeanEstimate | None
    letters: str = ""
    progress: float | None = None
    solve_time: float | None = None
    checkpoint_maximum: float | None = None
    paired: bool = True


@dataclass(frozen=True)
class PairResult:
    """The difference of two arms, the first minus the second.

    Attributes:
        first: name of an arm.
        second: name of another one.
        success: difference of the mean success rates. For two runs under one condition the interval
            is Tango's and the p-value McNemar's, both exact about episodes.
        paired: whether it was taken episode by episode. Otherwise it is as uncertain as that of two
            separate experiments.
        p_value: of ``success``, adjusted for all pairs of the comparison.
        equivalence_p_value: of the hypothesis that the difference is as large as the margin,
            adjusted likewise.
        verdict: of the first arm.
        progress: difference of the mean progress; None where it is not known or not paired.
        solve_time: difference of the mean steps until solved; below 0 the first arm is faster.
    """

    first: str
    second: str
    success: MeanEstimate
    paired: bool
    p_value: float
    equivalence_p_value: float
    verdict: Verdict
    progress: MeanEstimate | None = None
    solve_time: MeanEstimate | None = None

    def reversed(self) -> "PairResult":
        """The second arm minus the first."""
        opposite: dict[Verdict, Verdict] = {"ahead": "behind", "behind": "ahead"}
        return replace(
            self,
            first=self.second,
            second=self.first,
            success=_negative(self.success),
            verdict=opposite.get(self.verdict, self.verdict),
            progress=None if self.progress is None else _negative(self.progress),
            solve_time=None if self.solve_time is None else _negative(self.solve_time),
        )


@dataclass(frozen=True)
class Comparison:
    """Arms, their differences and what follows.

    Attributes:
        arms: best mean first, then those without a mean.
        conditions: all that an arm has met, in order: the columns.
        compared: of them, those that means and differences are over.
        pairs: every pair of arms with a mean, each once, the one with the better mean first.
        reference: name of the arm that the others are set beside; None for none.
        margin: difference of success rates below which arms count as equal.
        confidence: level of every interval; a test decides at 1 - confidence.
        correction: how p-values are adjusted for the number of pairs.
        provenance: what the runs were measured under; several only if mixing was asked for.
        fingerprint: hash of the provenance, the conditions, the run seeds and the episodes: tables
            that share it were measured under the same things.
        advice: what would make the least certain difference surer; empty without one.
        notes: what a reader must know: what was left out, and what the intervals do not hold.
    """

    arms: tuple[ArmResult, ...]
    conditions: tuple[Condition, ...]
    compared: tuple[Condition, ...]
    pairs: tuple[PairResult, ...]
    reference: str | None
    margin: float
    confidence: float
    correction: str
    provenance: tuple[Provenance, ...]
    fingerprint: str
    advice: str
    notes: tuple[str, ...]

    def arm(self, name: str) -> ArmResult:
        """The row of an arm.

        Raises:
            UnknownNameError: there is none of that name.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UnknownNameError("arm", name, [arm.name for arm in self.arms])

    def difference(self, first: str, second: str) -> PairResult | None:
        """The first arm minus the second; None where one of them has no mean."""
        for found in self.pairs:
            if (found.first, found.second) == (first, second):
                return found
            if (found.first, found.second) == (second, first):
                return found.reversed()
        return None

    def to_markdown(self) -> str:
        """The table of arms, the table of pairs, and what a reader must know."""
        from egodtm_robot.comparison.comparison_markdown import comparison_markdown

        return comparison_markdown(self)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; numbers that are not finite are None."""
        plain: dict[str, Any] = json_values(
            {
                "version": VERSION,
                "fingerprint": self.fingerprint,
                "provenance": [vars(one) for one in self.provenance],
                "confidence": self.confidence,
                "margin": self.margin,
                "correction": self.correction,
                "reference": self.reference,
                "conditions": [
                    {**vars(one), "compared": one in self.compared} for one in self.conditions
                ],
                "arms": [_plain_arm(arm, self.conditions) for arm in self.arms],
                "pairs": [_plain_pair(one) for one in self.pairs],
                "advice": self.advice,
                "notes": list(self.notes),
            }
        )
        return plain


def compare_arms(
    arms: Sequence[Arm],
    reference: str | None = None,
    margin: float = 0.03,
    confidence: float = 0.95,
    *,
    conditions: Sequence[Condition] | None = None,
    allow_unpaired: bool = False,
    allow_mixed: bool = False,
) -> Comparison:
    """Compare arms with one another.

    Args:
        arms: one or more, with different names.
        reference: name of the arm that the others are set beside; by default None, for none.
        margin: difference of success rates below which arms count as equal, stated before the
            results are seen; between 0 and 1.
        confidence: level of every interval, between 0 and 1; a test decides at 1 - confidence.
        conditions: those to compare under, in which arms without one of them get no mean; by
            default those that all arms have met.
        allow_unpaired: whether arms that have episode seeds but share no episodes are compared as
            two separate experiments. Results of before rows of outcomes always are, and say so.
        allow_mixed: whether runs of different protocols, versions or scenes are compared.

    Raises:
        ConfigurationError: there is no arm, or two have the same name, or a number is out of range.
        UnknownNameError: there is no arm of the reference's name.
        MixedRunsError: runs of different protocols, versions or scenes, unless ``allow_mixed``.
        PairingError: the arms share no condition, or no episodes unless ``allow_unpaired``.
    """
    _check(arms, reference, margin, confidence)
    provenance = shared_provenance(
        ((f"{arm.name} ({run.source})", run.provenance) for arm in arms for run in arm.runs),
        allow_mixed,
    )
    mixed_scenes = _mixed_scenes(arms)
    if mixed_scenes and not allow_mixed:
        raise MixedRunsError(
            f"Expected one scene for each condition, got {mixed_scenes[0]}. The same episode seed "
            "starts different episodes in them: run both again, or set allow_mixed=true to "
            "compare them all the same."
        )
    columns = tuple(sorted({run.condition for arm in arms for run in arm.runs}))
    compared = _shared_conditions(arms) if conditions is None else tuple(sorted(set(conditions)))
    whole = {arm.name: _whole_runs(arm, compared) for arm in arms}
    rows = [_row(arm, whole[arm.name], columns, confidence) for arm in arms]
    # Equal means keep the order that the arms were given in.
    rows.sort(key=lambda row: -math.inf if row.mean is None else row.mean.value, reverse=True)
    ranked = [whole[row.name] for row in rows if row.mean is not None]
    found = [
        _pair(first, second, confidence, allow_unpaired)
        for first, second in itertools.combinations(ranked, 2)
    ]
    pairs = _judged(found, margin, 1 - confidence)
    differ = [
        frozenset((one.first, one.second)) for one in pairs if one.verdict in ("ahead", "behind")
    ]
    letters = compact_letters([arm.name for arm in ranked], differ)
    return Comparison(
        arms=tuple(replace(row, letters=letters.get(row.name, "")) for row in rows),
        conditions=columns,
        compared=compared,
        pairs=pairs,
        reference=reference,
        margin=margin,
        confidence=confidence,
        correction="Holm",
        provenance=provenance,
        fingerprint=_fingerprint(provenance, ranked),
        advice=_advice(pairs),
        notes=(
            *_notes(arms, whole, columns, compared, pairs, provenance),
            *(f"Scenes are mixed: {one}." for one in mixed_scenes),
        ),
    )


# -- rows --------------------------------------------------------------------------------------


def _check(arms: Sequence[Arm], reference: str | None, margin: float, confidence: float) -> None:
    names = [arm.name for arm in arms]
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(f"Expected arms with different names, got {names}.")
    if not 0 < margin < 1 or not 0 < confidence < 1:
        raise ConfigurationError(
            f"Expected margin and confidence between 0 and 1, got {margin} and {confidence}; a "
            "margin of 3 points is 0.03."
        )
    if reference is not None and reference not in names:
        raise UnknownNameError("reference", reference, names)


def _mixed_scenes(arms: Sequence[Arm]) -> list[str]:
    """What differs where a condition has more than one scene."""
    scenes: dict[Condition, dict[str, str]] = {}
    for arm in arms:
        for run in arm.runs:
            if run.scene:
                there = scenes.setdefault(run.condition, {})
                there.setdefault(run.scene, f"{run.scene} in {arm.name} ({run.source})")
    return [
        f"{' and '.join(there.values())} for {_listed([condition])}"
        for condition, there in sorted(scenes.items())
        if len(there) > 1
    ]


def _shared_conditions(arms: Sequence[Arm]) -> tuple[Condition, ...]:
    shared = set.intersection(*({run.condition for run in arm.runs} for arm in arms))
    if not shared:
        raise PairingError(
            "Expected a condition (environment, look and resets) that all arms have met, but "
            + "; ".join(
                f"{arm.name} has {_listed(run.condition for run in arm.runs)}" for arm in arms
            )
            + ". Name runs of the same environments."
        )
    return tuple(sorted(shared))


def _whole_runs(arm: Arm, compared: Sequence[Condition]) -> Arm:
    """The arm's runs under the compared conditions, of the run seeds that it has under each."""
    there = {(run.condition, run.run_seed) for run in arm.runs}
    seeds = {seed for _, seed in there if all((condition, seed) in there for condition in compared)}
    return Arm(
        arm.name,
        tuple(run for run in arm.runs if run.condition in compared and run.run_seed in seeds),
    )


def _row(arm: Arm, whole: Arm, columns: Sequence[Condition], confidence: float) -> ArmResult:
    cells = {
        condition: _cell([run for run in arm.runs if run.condition == condition], confidence)
        for condition in columns
        if any(run.condition == condition for run in arm.runs)
    }
    return ArmResult(
        name=arm.name,
        cells=cells,
        run_seeds=tuple(sorted({run.run_seed for run in whole.runs})),
        mean=success_rate_estimate(whole, confidence) if whole.runs else None,
        progress=_mean_over_conditions(
            whole, lambda run: None if run.progress is None else float(np.mean(run.progress))
        ),
        solve_time=_mean_over_conditions(whole, _solve_time),
        checkpoint_maximum=_mean_over_conditions(whole, lambda run: run.checkpoint_maximum),
        paired=all(run.episode_seeds is not None for run in arm.runs),
    )


def _cell(runs: Sequence[RunEpisodes], confidence: float) -> Cell:
    episodes = sum(len(run.success) for run in runs)
    successes = int(sum(run.success.sum() for run in runs))
    return Cell(
        episodes,
        successes,
        wilson_interval(successes, episodes, confidence),
        {run.run_seed: float(np.mean(run.success)) for run in runs},
    )


def _solve_time(run: RunEpisodes) -> float | None:
    if run.solved_step is None or run.steps is None:
        return None
    return float(np.mean(np.where(np.isnan(run.solved_step), run.steps, run.solved_step)))


def _mean_over_conditions(arm: Arm, measure: Any) -> float | None:
    """Mean over runs of a whole arm; None unless every run has the measure."""
    values = [measure(run) for run in arm.runs]
    # Every condition has the same run seeds, so each weighs the same.
    return None if not values or None in values else float(np.mean(values))


# -- pairs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """A difference before all pairs are known."""

    first: str
    second: str
    success: MeanEstimate
    paired: bool
    progress: MeanEstimate | None = None
    solve_time: MeanEstimate | None = None


def _pair(first: Arm, second: Arm, confidence: float, allow_unpaired: bool) -> _Found:
    names = (first.name, second.name)
    totals_alone = any(run.episode_seeds is None for run in (*first.runs, *second.runs))
    try:
        differences = pair(first, second)
    except PairingError as error:
        if not allow_unpaired and not totals_alone:
            raise PairingError(
                f"{error} Set allow_unpaired=true to compare them as two separate experiments."
            ) from error
        return _Found(*names, unpaired_estimate(first, second, confidence), paired=False)
    success = paired_estimate(differences, confidence)
    if len(differences.values) == 1:
        success = _exact(differences, first, second, success)
    return _Found(
        *names,
        success,
        paired=True,
        progress=_beside(first, second, "progress", confidence),
        solve_time=_beside(first, second, "time", confidence),
    )


def _exact(
    differences: PairedDifferences, first: Arm, second: Arm, success: MeanEstimate
) -> MeanEstimate:
    """Interval and test of two single runs, which need no normal distribution."""
    ((place, values),) = differences.values.items()
    seeds = differences.episode_seeds[place]
    solved = []
    for arm in (first, second):
        (run,) = [run for run in arm.runs if (run.condition, run.run_seed) == place]
        assert run.episode_seeds is not None
        solved.append(run.success[np.isin(run.episode_seeds, seeds)])
    both = int((solved[0] & solved[1]).sum())
    only_first, only_second = int((values > 0).sum()), int((values < 0).sum())
    neither = len(values) - both - only_first - only_second
    return replace(
        success,
        interval=tango_interval(both, only_first, only_second, neither, success.confidence),
        p_value=mcnemar_exact(only_first, only_second),
    )


def _beside(first: Arm, second: Arm, measure: Measure, confidence: float) -> MeanEstimate | None:
    try:
        return paired_estimate(pair(first, second, measure), confidence)
    except PairingError:
        return None  # the results do not hold it


def _judged(found: Sequence[_Found], margin: float, alpha: float) -> tuple[PairResult, ...]:
    p_values = _adjusted([one.success.p_value for one in found])
    equivalences = _adjusted([equivalence_p_value(one.success, margin) for one in found])
    pairs = []
    for one, p_value, equivalence in zip(found, p_values, equivalences, strict=True):
        verdict: Verdict = "undecided"
        if p_value <= alpha:
            verdict = "ahead" if one.success.value > 0 else "behind"
        elif equivalence <= alpha:
            verdict = "equal"
        pairs.append(
            PairResult(
                one.first,
                one.second,
                one.success,
                one.paired,
                p_value,
                equivalence,
                verdict,
                one.progress,
                one.solve_time,
            )
        )
    return tuple(pairs)


def _adjusted(p_values: Sequence[float]) -> list[float]:
    # A test that could not be made has found nothing.
    return [float(one) for one in holm([1.0 if math.isnan(p) else p for p in p_values])]


def _negative(estimate: MeanEstimate) -> MeanEstimate:
    low, high = estimate.interval
    return replace(estimate, value=-estimate.value, interval=Interval(-high, -low))


# -- what is said about it ---------------------------------------------------------------------


def _advice(pairs: Sequence[PairResult]) -> str:
    """On the closest undecided pair, or the closest one where all are decided."""
    if not pairs:
        return ""
    undecided = [one for one in pairs if one.verdict == "undecided"]
    chosen = min(undecided or pairs, key=lambda one: abs(one.success.value))
    return advice(chosen.first, chosen.second, chosen.success, chosen.verdict, chosen.paired)


def _notes(
    arms: Sequence[Arm],
    whole: Mapping[str, Arm],
    columns: Sequence[Condition],
    compared: Collection[Condition],
    pairs: Sequence[PairResult],
    provenance: Sequence[Provenance],
) -> Iterable[str]:
    if not all(one.agrees(other) for one, other in itertools.combinations(provenance, 2)):
        yield (
            "Runs of different protocols or versions are mixed: "
            f"{'; '.join(str(one) for one in provenance)}."
        )
    looks: dict[str, set[str]] = {}
    for condition in compared:
        looks.setdefault(condition.environment, set()).add(condition.look)
    several = sorted(set().union(*(there for there in looks.values() if len(there) > 1)))
    if several:
        yield (
            f"Means and differences are over the looks {', '.join(several)} together; split=look "
            "compares the looks with one another."
        )
    left_out = [condition for condition in columns if condition not in compared]
    if left_out:
        yield (
            f"Left out of means and differences, since not every arm has met it: "
            f"{_listed(left_out)}."
        )
    for arm in arms:
        seeds = {run.run_seed for run in whole[arm.name].runs}
        partial = {run.run_seed for run in arm.runs if run.condition in compared} - seeds
        if partial:
            yield (
                f"{arm.name}: left out of its mean and differences, since they lack a run under a "
                f"compared condition: {_seeds(partial)}."
            )
        if not seeds:
            yield f"{arm.name} has no run seed with a run under every condition, and so no mean."
    for one in pairs:
        yield from _left_out(one, whole[one.first], whole[one.second])
    single = [one for one in pairs if one.success.over == "episodes"]
    if single:
        which = "" if len(single) == len(pairs) else f", as for {_named(single)},"
        yield (
            f"With one run seed{which} an interval is over episodes alone. It says which of two "
            "trained policies is better, and nothing about training again: add run seeds."
        )
    unpaired = [one for one in pairs if not one.paired]
    if unpaired:
        yield (
            f"Unpaired, as two separate experiments: {_named(unpaired)}. Results with rows of the "
            "same episodes would be compared more sharply."
        )


def _named(pairs: Sequence[PairResult]) -> str:
    """The first pairs, and the number of the others."""
    names = [f"{one.first} and {one.second}" for one in pairs[:_PAIRS_NAMED]]
    rest = len(pairs) - len(names)
    return "; ".join([*names, *([f"{rest} other pairs"] if rest else [])])


def _left_out(result: PairResult, first: Arm, second: Arm) -> Iterable[str]:
    """What of a paired difference's arms it does not use."""
    if not result.paired:
        return
    seeds = [{run.run_seed for run in arm.runs} for arm in (first, second)]
    names = f"{result.first} and {result.second}"
    alone = seeds[0] ^ seeds[1]
    if alone:
        yield f"{names} are compared without {_seeds(alone)}, which one of them lacks."
    shared = seeds[0] & seeds[1]
    total = max(
        sum(len(run.success) for run in arm.runs if run.run_seed in shared)
        for arm in (first, second)
    )
    if total > result.success.episodes:
        yield (
            f"{names} are compared on the {result.success.episodes} episodes that they share, "
            f"without {total - result.success.episodes} others."
        )


def _fingerprint(provenance: Sequence[Provenance], arms: Sequence[Arm]) -> str:
    met = {
        (
            *vars(run.condition).values(),
            run.scene,
            run.run_seed,
            None if run.episode_seeds is None else hash_parts(run.episode_seeds.tolist()),
            len(run.success),
        )
        for arm in arms
        for run in arm.runs
    }
    return hash_parts([list(vars(one).values()) for one in provenance], sorted(met, key=str))


def _listed(conditions: Iterable[Condition]) -> str:
    return ", ".join(
        f"{one.environment} (look {one.look}, resets {one.resets})"
        for one in sorted(set(conditions))
    )


def _seeds(seeds: Collection[int]) -> str:
    return f"run seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"


# -- plain values ------------------------------------------------------------------------------


def _plain_arm(arm: ArmResult, conditions: Sequence[Condition]) -> dict[str, Any]:
    return {
        "name": arm.name,
        "letters": arm.letters,
        "mean": _plain_estimate(arm.mean),
        "run_seeds": list(arm.run_seeds),
        "cells": [
            None if (cell := arm.cells.get(condition)) is None else _plain_cell(cell)
            for condition in conditions
        ],
        "progress": arm.progress,
        "solve_time": arm.solve_time,
        "checkpoint_maximum": arm.checkpoint_maximum,
        "paired": arm.paired,
    }


def _plain_cell(cell: Cell) -> dict[str, Any]:
    return {
        "episodes": cell.episodes,
        "successes": cell.successes,
        "success_rate": cell.rate,
        "interval": list(cell.interval),
        "run_rates": {str(seed): rate for seed, rate in sorted(cell.run_rates.items())},
    }


def _plain_pair(one: PairResult) -> dict[str, Any]:
    return {
        "first": one.first,
        "second": one.second,
        "success": _plain_estimate(one.success),
        "paired": one.paired,
        "p_value": one.p_value,
        "equivalence_p_value": one.equivalence_p_value,
        "verdict": one.verdict,
        "progress": _plain_estimate(one.progress),
        "solve_time": _plain_estimate(one.solve_time),
    }


def _plain_estimate(estimate: MeanEstimate | None) -> dict[str, Any] | None:
    return None if estimate is None else {**vars(estimate), "interval": list(estimate.interval)}
