"""Whether intervals, tests and the sequential rule of the comparison keep their levels.

    python benchmarks/statistics_calibration.py [--studies 4000] [--output FILE.json]

It simulates studies with the structure of the benchmark: training runs of two arms with the same
run seeds on five tasks, 70 episodes each. A run seed changes the true success rate of a run, either
on each task by itself or on all tasks alike. Episodes are hard or easy for both arms. It prints
tables and writes all numbers to the output, ``docs/results/statistics.json`` by default.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse, special, stats

from egodtm_robot.comparison.arms import Arm, Condition, RunEpisodes
from egodtm_robot.comparison.inference.discordance import mcnemar_exact, tango_interval
from egodtm_robot.comparison.inference.estimate import half_width, tail_probability
from egodtm_robot.comparison.inference.planning import seeds_needed
from egodtm_robot.comparison.inference.rates import (
    independent_variance,
    rate_interval,
    success_rate_estimate,
)
from egodtm_robot.comparison.inference.sequential import log_likelihood_ratio
from egodtm_robot.comparison.inference.variance import Design, Variance, mean_variance
from egodtm_robot.core.multiplicity import holm
from egodtm_robot.core.storage.atomic_files import write_atomically

Array = NDArray[np.float64]
OUTPUT = Path(__file__).parents[1] / "docs" / "results" / "statistics.json"
MARGIN = 0.03


@dataclass(frozen=True)
class Study:
    """What is simulated.

    Attributes:
        seeds: training runs of each arm on each task.
        rates: true success rate of each arm, the mean over training runs; the difference is that
            of the first two.
        deviation: standard deviation of a run's true rate between run seeds.
        shared: whether a run seed changes the rate of all tasks alike.
        tasks: how many.
        episodes: of a run on a task.
        crossed: whether all run seeds meet the same episodes.
        second_deviation: of all arms but the first, if it is another one.
    """

    seeds: int
    rates: tuple[float, ...] = (0.5, 0.5)
    deviation: float = 0.0
    shared: bool = False
    tasks: int = 5
    episodes: int = 70
    crossed: bool = False
    second_deviation: float | None = None

    @property
    def design(self) -> Design:
        """How run seeds share episodes."""
        return "crossed" if self.crossed else "nested"

    @property
    def difference(self) -> float:
        """True difference."""
        return self.rates[0] - self.rates[1]


HARDNESS = 0.5
"""Share of an episode's chance that both arms meet alike, on the scale of a probit model."""
ALIKE = 0.2
"""Share of that which all tasks have in common, since their episodes have the same seeds."""


def simulate(study: Study, number: int, generator: np.random.Generator) -> list[Array]:
    """Successes of each arm, float32 (number, seeds, tasks, episodes)."""
    seeds, tasks, episodes = study.seeds, study.tasks, study.episodes
    met = 1 if study.crossed else seeds

    def normal(*shape: int) -> NDArray[np.float32]:
        return generator.standard_normal((number, *shape), dtype=np.float32)

    hard = np.sqrt(1 - ALIKE) * normal(met, tasks, episodes)
    hard += np.sqrt(ALIKE) * normal(met, 1, episodes)
    arms = []
    for arm, rate in enumerate(study.rates):
        other = study.second_deviation if arm else None
        deviation = study.deviation if other is None else other
        place = normal(seeds, 1 if study.shared else tasks)
        true = _beta(np.broadcast_to(place, (number, seeds, tasks)), rate, deviation)
        chance = np.sqrt(HARDNESS) * hard + np.sqrt(1 - HARDNESS) * normal(seeds, tasks, episodes)
        limit = special.ndtri(true).astype(np.float32)[..., None]
        arms.append((chance < limit).astype(np.float32))
    return arms


def _beta(normal: NDArray[np.float32], mean: float, deviation: float) -> Array:
    """Beta variables with a mean and a deviation, of standard normal ones."""
    if deviation == 0:
        return np.full(normal.shape, mean)
    size = mean * (1 - mean) / deviation**2 - 1
    grid = np.linspace(-5, 5, 801)
    values = special.betaincinv(mean * size, (1 - mean) * size, special.ndtr(grid))
    return np.interp(normal, grid, values)


def summarized(values: Array, study: Study) -> tuple[Array, Variance]:
    """Mean of each simulated study with its variance; values (number, seeds, tasks, episodes)."""
    over_tasks = values.mean(axis=2, dtype=np.float64)
    means = over_tasks.mean(axis=-1)
    residuals = (over_tasks - means[..., None]) / study.episodes
    variance = mean_variance(means, residuals, study.episodes, study.tasks, study.design)
    return means.mean(axis=-1), variance


def p_values(means: Array, variance: Variance) -> Array:
    """Two-sided, of the hypothesis that the difference is 0."""
    return np.minimum(2 * _tail(np.abs(means), variance), 1)


def equivalence_p_values(means: Array, variance: Variance, margin: float = MARGIN) -> Array:
    """Of the hypothesis that the difference is as large as the margin."""
    return _tail(margin - np.abs(means), variance)


def _tail(distance: Array, variance: Variance) -> Array:
    return tail_probability(
        distance,
        np.sqrt(variance.total),
        variance.degrees_of_freedom,
        np.sqrt(variance.by_episodes),
    )


def bootstrap_coverage(
    values: Array, truth: float, generator: np.random.Generator, resamples: int = 1000
) -> tuple[float, float]:
    """Coverage and mean width of the percentile bootstrap over run seeds and episodes.

    Run seeds are drawn with replacement, then the episodes of each, whose mean is about normal.
    """
    number, seeds, tasks, episodes = values.shape
    means = values.mean(axis=(2, 3), dtype=np.float64)
    errors = np.sqrt(values.var(axis=3, dtype=np.float64).sum(axis=2) / episodes) / tasks
    covered = widths = 0.0
    for mean, error in zip(means, errors, strict=True):
        drawn = generator.integers(seeds, size=(resamples, seeds))
        noise = generator.standard_normal((resamples, seeds))
        low, high = np.quantile((mean[drawn] + error[drawn] * noise).mean(axis=1), [0.025, 0.975])
        covered += low <= truth <= high
        widths += high - low
    return covered / number, widths / number


def pooled_coverage(values: Array, truth: float) -> tuple[float, float]:
    """Coverage and mean width of Student's t over the (run seed, task) cells.

    It takes a run seed's effects on different tasks for independent.
    """
    _, seeds, tasks, _ = values.shape
    cells = values.mean(axis=3, dtype=np.float64)
    error = np.sqrt(cells.var(axis=1, ddof=1).mean(axis=1) / (seeds * tasks))
    half = special.stdtrit(tasks * (seeds - 1), 0.975) * error
    covered = np.abs(cells.mean(axis=(1, 2)) - truth) <= half
    return float(covered.mean()), float(2 * half.mean())


def paired_row(study: Study, number: int, seed: int, baselines: bool = False) -> dict[str, Any]:
    """Levels of the paired difference of one kind of study."""
    generator = np.random.default_rng(seed)
    first, second = simulate(study, number, generator)
    values = first - second
    means, variance = summarized(values, study)
    half = half_width(variance, 0.95)
    row: dict[str, Any] = {
        **asdict(study),
        "studies": number,
        "coverage": float((np.abs(means - study.difference) <= half).mean()),
        "width": float(2 * half.mean()),
        "rejected": float((p_values(means, variance) <= 0.05).mean()),
        "equivalent": float((equivalence_p_values(means, variance) <= 0.05).mean()),
    }
    if study.seeds > 1:
        share = 1 - variance.by_episodes / np.maximum(variance.total, variance.by_episodes)
        row["training_share"] = float(share.mean())
    if baselines and study.seeds > 1:
        some = values[: min(number, 1000)]
        row["bootstrap"], row["bootstrap_width"] = bootstrap_coverage(
            some, study.difference, generator
        )
        row["pooled"], row["pooled_width"] = pooled_coverage(values, study.difference)
    return row


def rate_row(study: Study, number: int, seed: int) -> dict[str, Any]:
    """Coverage of the interval of one arm's mean rate, and of the unpaired difference."""
    generator = np.random.default_rng(seed)
    first, _ = simulate(study, number, generator)
    _, second = simulate(study, number, generator)
    mean, variance = summarized(first, study)
    other, other_variance = summarized(second, study)
    row: dict[str, Any] = {**asdict(study), "studies": number}
    if study.seeds == 1:
        places = [Condition(f"task{task}", "", "") for task in range(study.tasks)]
        number = min(number, 1000)
        found = [
            success_rate_estimate(
                Arm(
                    "", tuple(_run(place, cell) for place, cell in zip(places, one[0], strict=True))
                )
            ).interval
            for one in first[:number] > 0
        ]
        low, high = np.array(found).T
    else:
        episodes = study.seeds * study.tasks * study.episodes
        low, high = rate_interval(mean, variance, episodes, 0.95)
    row["coverage"] = float(((low <= study.rates[0]) & (study.rates[0] <= high)).mean())
    row["width"] = float((high - low).mean())
    joint = independent_variance(variance, other_variance)
    half = half_width(joint, 0.95)
    row["unpaired"] = float((np.abs(mean - other - study.difference) <= half).mean())
    row["unpaired_width"] = float(2 * half.mean())
    return row


def _run(place: Condition, success: NDArray[np.bool_]) -> RunEpisodes:
    return RunEpisodes(place, 0, np.arange(len(success)), success)


def single_run_row(
    rates: tuple[float, float], episodes: int, number: int, seed: int
) -> dict[str, Any]:
    """Tango's interval and McNemar's test of two trained policies on one task."""
    study = Study(1, rates, tasks=1, episodes=episodes)
    first, second = simulate(study, number, np.random.default_rng(seed))
    ours, theirs = first[:, 0, 0] > 0, second[:, 0, 0] > 0
    counts = np.stack(
        [(ours & theirs).sum(1), (ours & ~theirs).sum(1), (~ours & theirs).sum(1)], axis=1
    )
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    covered = rejected = width = 0.0
    for (both, only_first, only_second), share in zip(kinds.tolist(), times / number, strict=True):
        neither = episodes - both - only_first - only_second
        low, high = tango_interval(both, only_first, only_second, neither)
        covered += share * (low <= study.difference <= high)
        width += share * (high - low)
        rejected += share * (mcnemar_exact(only_first, only_second) <= 0.05)
    return {
        "rates": rates,
        "episodes": episodes,
        "tango": covered,
        "tango_width": width,
        "mcnemar_rejected": rejected,
    }


def family_row(study: Study, number: int, seed: int) -> dict[str, Any]:
    """How often any of all pairs of equal arms is found to differ, with Holm's correction."""
    arms = simulate(study, number, np.random.default_rng(seed))
    found = np.stack(
        [p_values(*summarized(one - other, study)) for one, other in combinations(arms, 2)], axis=1
    )
    return {
        **asdict(study),
        "any_holm": float(np.mean([holm(one.tolist()).min() <= 0.05 for one in found])),
        "any_uncorrected": float((found.min(axis=1) <= 0.05).mean()),
    }


def verdicts(
    blocks: Array, alpha: float = 0.05, margin: float = MARGIN
) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """What the sequential rule decides and after how many blocks; blocks (number, most)."""
    number, most = blocks.shape
    verdict = np.full(number, "undecided", dtype="<U10")
    after = np.full(number, most)
    below = np.zeros(number, bool)
    above = np.zeros(number, bool)
    two_sided, one_sided = np.log(2 / alpha), np.log(1 / alpha)
    for taken in range(1, most + 1):
        # The evidence is a smooth function of one number, so a table of it is enough.
        grid = np.linspace(-np.sqrt(taken), np.sqrt(taken), 2001)
        table = log_likelihood_ratio(taken, grid)

        def evidence(seen: Array, grid: Array = grid, table: Array = table) -> Array:
            length = np.maximum(np.sqrt((seen**2).sum(axis=1)), 1e-12)
            direction = seen.sum(axis=1) / length
            return np.where(length > 1e-12, np.interp(direction, grid, table), 0)

        seen = blocks[:, :taken]
        below |= evidence(margin - seen) >= one_sided
        above |= evidence(margin + seen) >= one_sided
        for name, hit in (
            ("first", evidence(seen) >= two_sided),
            ("second", evidence(-seen) >= two_sided),
            ("equivalent", below & above),
        ):
            now = hit & (verdict == "undecided")
            verdict[now], after[now] = name, taken
    return verdict, after


def sequential_row(study: Study, most: int, number: int, seed: int) -> dict[str, Any]:
    """How often the rule is wrong when looked at after every one of many blocks."""
    generator = np.random.default_rng(seed)
    parts = []
    for start in range(0, number, 500):
        first, second = simulate(study, min(500, number - start), generator)
        parts.append((first - second).mean(axis=(2, 3), dtype=np.float64))
    blocks = np.concatenate(parts)
    verdict, _ = verdicts(blocks)
    # The interval excludes a difference once the blocks less that difference are told from 0. The
    # smallest margin ends this for blocks alone that are all the same.
    ruled_out, _ = verdicts(blocks - study.difference, margin=1e-9)
    return {
        **asdict(study),
        "blocks": most,
        "held": 1 - float(np.isin(ruled_out, ("first", "second")).mean()),
        "block_deviation": float(blocks.std(axis=1, ddof=1).mean()),
        "first": float((verdict == "first").mean()),
        "second": float((verdict == "second").mean()),
        "equivalent": float((verdict == "equivalent").mean()),
    }


def stopping_row(
    difference: float, deviation: float, most: int, number: int, seed: int
) -> dict[str, Any]:
    """How soon the rule decides, beside a fixed number of blocks with 80 % power."""
    generator = np.random.default_rng(seed)
    blocks = np.clip(difference + deviation * generator.standard_normal((number, most)), -1, 1)
    verdict, after = verdicts(blocks)
    right = "equivalent" if difference == 0 else "first"
    fixed = seeds_needed(difference, deviation**2, 0, 1) if difference else None
    return {
        "difference": difference,
        "deviation": deviation,
        "most": most,
        "mean_blocks": float(after.mean()),
        "median_blocks": float(np.median(after)),
        **{
            f"right_by_{limit}": float(((verdict == right) & (after <= limit)).mean())
            for limit in (6, 12, 24)
        },
        "equivalent": float((verdict == "equivalent").mean()),
        "wrong": float(((verdict == "second") | ((verdict == "first") & (difference == 0))).mean()),
        "fixed": fixed,
    }


def planned_row(
    rates: tuple[float, float], deviation: float, number: int, seed: int
) -> dict[str, Any]:
    """Whether the planner's number of run seeds has the power that it promises."""
    many = Study(40, rates, deviation)
    first, second = simulate(many, 200, np.random.default_rng(seed))
    _, variance = summarized(first - second, many)
    training, episode = float(variance.training.mean()), float(variance.episode.mean())
    seeds = seeds_needed(rates[0] - rates[1], training, episode, 70)
    row = paired_row(Study(seeds, rates, deviation), number, seed + 1)
    return {
        "rates": rates,
        "deviation": deviation,
        "training_variance": training,
        "episode_variance": episode,
        "seeds": seeds,
        "power": row["rejected"],
    }


def narrowest(seeds: int, tasks: int, bins: int = 90) -> dict[str, float]:
    """How narrow an interval can be on average if it keeps 95 % for every amount of sharing.

    The means of (run seed, task) cells are normal, with a variance within run seeds and a part that
    all tasks of a run seed share. An interval may use both mean squares in any way: its half width
    is sqrt(pooled mean square) times a function of their ratio. The least mean width where nothing
    is shared, under the condition of coverage for every amount of sharing, is a linear program.

    Returns:
        Mean half widths where nothing is shared, in true standard errors: of that interval, of
        Student's t over run seeds, and of Student's t over cells, which keeps its level there only.
    """
    between, within = seeds - 1, (seeds - 1) * (tasks - 1)
    freedom = between + within
    sharing = np.exp(np.linspace(0, np.log(400), 36))[:, None]
    parts, levels = 8, bins + 10
    edges = np.exp(np.linspace(np.log(1e-3), np.log(4e3), bins * parts + 1))
    ratio = np.sqrt(edges[1:] * edges[:-1])
    chance = np.diff(stats.f.cdf(edges / sharing, between, within), axis=1)
    share = within / (between * ratio / sharing + within)
    factor = np.sqrt(share / (within * sharing) * (between * ratio + within))
    mean_root = np.sqrt(2) * np.exp(
        special.gammaln((freedom + 1) / 2) - special.gammaln(freedom / 2)
    )
    student = special.stdtrit(between, 0.975)
    widths = np.linspace(0.3, 1.15 * student * np.sqrt(freedom / between), levels)

    def binned(values: Array) -> Array:
        return values.reshape(len(sharing), bins, parts).sum(axis=2)

    cover = np.stack(
        [binned(chance * (2 * special.stdtr(freedom, factor * one) - 1)) for one in widths], axis=2
    )
    cost = binned(chance * factor)[0][:, None] * widths * mean_root / np.sqrt(freedom)
    found = optimize.linprog(
        cost.ravel(),
        A_ub=-cover.reshape(len(sharing), -1),
        # Less what lies outside the bins, and a little for the discretization.
        b_ub=-(0.95 - (1 - chance.sum(axis=1))) + 0.0003,
        A_eq=sparse.kron(sparse.eye(bins), np.ones((1, levels))),
        b_eq=np.ones(bins),
        method="highs",
    )
    return {
        "seeds": seeds,
        "tasks": tasks,
        "narrowest": float(found.fun),
        "over_seeds": float(student * _mean_root_chi(between)),
        "over_cells": float(special.stdtrit(freedom, 0.975) * _mean_root_chi(freedom)),
    }


def _mean_root_chi(freedom: int) -> float:
    """Mean of the root of a mean square."""
    logs = special.gammaln((freedom + 1) / 2) - special.gammaln(freedom / 2)
    return float(np.sqrt(2 / freedom) * np.exp(logs))


CHANCES = ((0.0, False), (0.05, False), (0.05, True), (0.15, False), (0.15, True))
"""Deviations between run seeds, and whether all tasks share them."""


def calibrate(number: int) -> dict[str, Any]:
    """All sections."""
    null = [
        Study(seeds, (rate, rate), deviation, shared)
        for seeds in (3, 4, 6)
        for rate in (0.5, 0.95)
        for deviation, shared in CHANCES
    ]
    crossed = [Study(**{**asdict(one), "crossed": True}) for one in null if one.seeds != 4]
    single_task = [
        Study(seeds, (rate, rate), deviation, tasks=1)
        for seeds in (3, 6)
        for rate in (0.5, 0.95)
        for deviation in (0.0, 0.05, 0.15)
    ]
    one_seed = [
        Study(1, rates, tasks=tasks)
        for tasks in (1, 5)
        for rates in ((0.5, 0.5), (0.95, 0.95), (0.6, 0.5), (0.95, 0.9), (1.0, 0.97))
    ]
    different = [
        Study(seeds, rates, deviation, shared)
        for seeds in (3, 6)
        for rates in ((0.6, 0.5), (0.95, 0.9))
        for deviation, shared in ((0.05, False), (0.05, True), (0.15, False))
    ]
    at_margin = [
        Study(seeds, rates, deviation)
        for seeds in (3, 6)
        for rates in ((0.53, 0.5), (0.98, 0.95))
        for deviation in (0.0, 0.05)
    ]
    skewed = [
        Study(seeds, (0.95, 0.95), 0.0, shared, second_deviation=0.15)
        for seeds in (3, 6)
        for shared in (False, True)
    ]
    rates = [Study(1, (rate, rate), tasks=tasks) for tasks in (1, 5) for rate in (0.5, 0.95, 0.99)]

    def rows(studies: list[Study], baselines: bool = False) -> list[dict[str, Any]]:
        return [paired_row(one, number, place, baselines) for place, one in enumerate(studies)]

    blocks = 24
    sequential = [
        Study(blocks, rates, deviation, shared)
        for rates in ((0.5, 0.5), (0.95, 0.95), (0.53, 0.5), (0.98, 0.95))
        for deviation, shared in ((0.0, False), (0.05, False), (0.05, True))
    ]
    sequential += [Study(blocks, (0.5, 0.5), 0.15, True), Study(blocks, (0.95, 0.95), 0.15, True)]
    sequential += [
        Study(blocks, (0.95, 0.95), 0.0, one, second_deviation=0.15) for one in (False, True)
    ]
    fewer = max(number // 2, 1)
    return {
        "command": "python benchmarks/statistics_calibration.py",
        "studies": number,
        "null": rows(null, baselines=True),
        "crossed": rows(crossed),
        "single_task": rows(single_task),
        "one_seed": rows(one_seed),
        "different": rows(different),
        "at_margin": rows(at_margin),
        "skewed": rows(skewed, baselines=True),
        "rates": [
            rate_row(one, number, place)
            for place, one in enumerate([*rates, *(one for one in null if one.seeds != 4)])
        ],
        "single_runs": [
            single_run_row(pair, episodes, number, place)
            for place, (pair, episodes) in enumerate(
                (pair, episodes)
                for episodes in (20, 70)
                for pair in ((0.5, 0.5), (0.95, 0.95), (0.6, 0.5), (0.95, 0.9), (1.0, 0.97))
            )
        ],
        "families": [
            family_row(Study(seeds, (rate,) * 6, 0.05, shared), fewer, 0)
            for seeds, rate, shared in ((3, 0.5, False), (3, 0.95, True), (6, 0.5, True))
        ],
        "narrowest": [narrowest(seeds, 5) for seeds in (3, 4, 6)],
        "planned": [
            planned_row(pair, deviation, number, 0)
            for pair in ((0.9, 0.85), (0.65, 0.6))
            for deviation in (0.05, 0.1)
        ],
        "sequential": [
            sequential_row(one, blocks, fewer, place) for place, one in enumerate(sequential)
        ],
        "stopping": [
            stopping_row(difference, deviation, blocks, fewer, 0)
            for difference in (0.0, 0.02, 0.05, 0.1, 0.2)
            for deviation in (0.03, 0.05, 0.08)
        ],
    }


def main() -> None:
    """Prints the tables as Markdown and writes the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    results = _rounded(calibrate(arguments.studies))
    write_atomically(arguments.output, f"{json.dumps(results, indent=1)}\n".encode())
    print(to_markdown(results))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return round(value, 5) if isinstance(value, float) else value


def to_markdown(results: dict[str, Any]) -> str:
    """The tables of ``docs/results/statistics.md``, in its order."""
    kinds = {
        "crossed": "same episodes for all run seeds",
        "single_task": "one task",
        "one_seed": "one run seed",
        "different": "arms that differ",
        "skewed": "arms of unlike spread",
    }
    other = [(name, row) for kind, name in kinds.items() for row in results[kind]]
    tables = [
        _table(
            "run seeds | success | run seeds differ by | ours | bootstrap | cells",
            [
                (
                    row["seeds"],
                    *_case(row),
                    _level(row["coverage"], row["width"]),
                    _level(row["bootstrap"], row["bootstrap_width"]),
                    _level(row["pooled"], row["pooled_width"]),
                )
                for row in results["null"]
            ],
        ),
        _table(
            "run seeds | narrowest possible | t over run seeds | t over cells",
            [
                (
                    row["seeds"],
                    *(f"{row[k]:.2f}" for k in ("narrowest", "over_seeds", "over_cells")),
                )
                for row in results["narrowest"]
            ],
        ),
        _table(
            "what | run seeds | tasks | success | run seeds differ by | covered [width] | "
            "found different",
            [
                (
                    name,
                    row["seeds"],
                    row["tasks"],
                    *_case(row),
                    _level(row["coverage"], row["width"]),
                    _percent(row["rejected"]),
                )
                for name, row in other
            ],
        ),
        _table(
            "run seeds | success | run seeds differ by | called level",
            [
                (row["seeds"], *_case(row), _percent(row["equivalent"]))
                for row in results["at_margin"]
            ],
        ),
        _table(
            "run seeds | tasks | success | run seeds differ by | one arm | two unpaired arms",
            [
                (
                    row["seeds"],
                    row["tasks"],
                    *_case(row),
                    _level(row["coverage"], row["width"]),
                    _level(row["unpaired"], row["unpaired_width"]),
                )
                for row in results["rates"]
            ],
        ),
        _table(
            "episodes | success | Tango's interval | McNemar's test: found different",
            [
                (
                    row["episodes"],
                    _rates(row),
                    _level(row["tango"], row["tango_width"]),
                    _percent(row["mcnemar_rejected"]),
                )
                for row in results["single_runs"]
            ],
        ),
        _table(
            "run seeds | success | run seeds differ by | any pair, Holm | any pair, uncorrected",
            [
                (
                    row["seeds"],
                    *_case(row),
                    _percent(row["any_holm"]),
                    _percent(row["any_uncorrected"]),
                )
                for row in results["families"]
            ],
        ),
        _table(
            "success | run seeds differ by | planned run seeds | power",
            [
                (
                    _rates(row),
                    f"{100 * row['deviation']:.0f}",
                    row["seeds"],
                    _percent(row["power"]),
                )
                for row in results["planned"]
            ],
        ),
        _table(
            "success | run seeds differ by | first better | second better | level | interval holds",
            [
                (
                    *_case(row),
                    *(_percent(row[key]) for key in ("first", "second", "equivalent", "held")),
                )
                for row in results["sequential"]
            ],
        ),
        _table(
            "difference | deviation of a block | blocks, mean | decided by 6 | by 12 | by 24 | "
            "called level | fixed number",
            [
                (
                    f"{100 * row['difference']:.0f}",
                    f"{100 * row['deviation']:.0f}",
                    f"{row['mean_blocks']:.1f}",
                    *(_percent(row[f"right_by_{limit}"]) for limit in (6, 12, 24)),
                    _percent(row["equivalent"]),
                    row["fixed"] or "",
                )
                for row in results["stopping"]
            ],
        ),
    ]
    return "\n\n".join(tables)


def _table(head: str, rows: list[tuple[object, ...]]) -> str:
    columns = head.count(" | ") + 1
    lines = [f"| {head} |", "|" + "---|" * columns]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def _case(row: dict[str, Any]) -> tuple[str, str]:
    """Rates and deviations of a study, in percent and points."""
    deviation = f"{100 * row['deviation']:.0f}"
    if row["second_deviation"] is not None:
        deviation += f" and {100 * row['second_deviation']:.0f}"
    return _rates(row), deviation + (", all tasks alike" if row["shared"] else "")


def _rates(row: dict[str, Any]) -> str:
    return " and ".join(f"{100 * rate:.0f}" for rate in dict.fromkeys(row["rates"]))


def _level(coverage: float, width: float) -> str:
    return f"{100 * coverage:.1f} [{100 * width:.1f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
