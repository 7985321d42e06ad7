"""Finished runs that nobody has trained: their folders, and their episodes as arms."""

import numpy as np
import yaml

from egodtm_robot.comparison.arms import Arm, Condition, RunEpisodes
from egodtm_robot.evaluation.outcomes import Outcome, write_outcomes
from egodtm_robot.evaluation.results import RunResults, success_summary

TASKS = ("kitchen_knob", "kitchen_light")


def condition(environment, look="varied", resets="default"):
    return Condition(environment, look, resets)


def run_episodes(successes, seed=0, where=TASKS[0], first=None, **fields):
    """The episodes of a run; each run seed has 1,000 episode seeds of its own."""
    successes = np.asarray(successes, bool)
    start = 1_000 * seed if first is None else first
    place = where if isinstance(where, Condition) else condition(where)
    seeds = np.arange(start, start + len(successes))
    return RunEpisodes(place, seed, seeds, successes, **fields)


def random_arm(name, rate, seeds=range(6), where=TASKS, episodes=40, spread=0.0):
    """An arm whose runs succeed at a rate, or at one that differs between run seeds.

    All arms share how hard an episode is, so that they succeed on the same ones.
    """
    generator = np.random.default_rng([len(name), int(1_000 * rate)])
    runs = []
    for seed in seeds:
        own = rate + spread * generator.standard_normal()
        for number, task in enumerate(where):
            hardness = np.random.default_rng([seed, number]).random(episodes)
            luck = generator.random(episodes)
            runs.append(run_episodes(0.7 * hardness + 0.3 * luck < own, seed, task))
    return Arm(name, tuple(runs))


def write_run(
    folder,
    successes,
    seed=0,
    environment=TASKS[0],
    *,
    outcomes=True,
    protocol="few",
    settings=None,
    look="varied",
    encoder="pixels",
    **results,
):
    """Write the folder of a finished run.

    Args:
        folder: made.
        successes: bool of each final episode.
        seed: of the run.
        environment: its name.
        outcomes: whether it has rows, or totals alone.
        protocol: its name.
        settings: of the protocol, as in ``config.yaml``; None for a folder without that file.
        look: name of the visual preset.
        encoder: its name, or all that results say of it.
        results: further fields of the results.
    """
    folder.mkdir(parents=True)
    final = success_summary(len(successes), int(np.sum(successes))) | {"split": "final"}
    if outcomes:
        rows = [
            Outcome(
                environment, "task", look, "default", seed, 1_000 * seed + number, bool(success),
                10 + number if success else None, 6 if success else 0, 1.0 if success else 0.25, 50,
            )
            for number, success in enumerate(successes)
        ]  # fmt: skip
        write_outcomes(folder / "outcomes.csv", rows)
        final["outcomes"] = "outcomes.csv"
    if settings is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump({"protocol": settings}))
    fields = {
        "env": environment,
        "environment": {
            "visual": look,
            "randomization": "default",
            "model_hash": f"{environment}!",
        },
        "encoder": encoder if isinstance(encoder, dict) else {"name": encoder},
        "policy": "mlp",
        "protocol": protocol,
        "seed": seed,
        "demos": {"episodes": 25, "noise": 0.05, "seed": 0},
        "checkpoints": [],
        "best_checkpoint": 1,
        "final": final,
        "timings_s": {},
        "versions": {"egodtm-robot": "0.1.0", "mujoco": "4.0.0"},
    }
    RunResults(**fields | results).save(folder)


def write_grid(folder, rates, seeds=range(2), tasks=TASKS, episodes=20, **fields):
    """Write a benchmark's folder: ``<environment>/<row>/seed_<seed>``.

    Args:
        folder: of the benchmark.
        rates: share of the episodes that each row solves, the same ones in every run.
        seeds: of the runs.
        tasks: the environments.
        episodes: of each run.
        fields: of every run, see :func:`write_run`.
    """
    for name, rate in rates.items():
        for task in tasks:
            for seed in seeds:
                successes = np.arange(episodes) < round(rate * episodes)
                write_run(
                    folder / task / name / f"seed_{seed}", successes, seed, task,
                    **{"encoder": name} | fields,
                )  # fmt: skip
