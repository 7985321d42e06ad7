"""How often the scripted experts succeed, and how often the handle is in reach at all.

    python benchmarks/expert_success.py [--episodes 100] [--tasks microwave,light] [--seed 4321]

For each task, on seeds that nothing was tuned on: the share of resets whose handle is in reach by
inverse kinematics, and on those the expert's success without noise and with the default noise on
executed actions, under ``default``; the same share and the success without noise under ``fk1``.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from egodtm_robot.collect import CollectConfig
from egodtm_robot.core.seeding import episode_seeds
from envs.kitchen import KITCHEN_TASKS, KitchenEnv
from envs.kitchen.experts import EXPERT_VERSION, make_expert
from envs.kitchen.reachability import handle_in_reach

NOISE = CollectConfig.noise


def measure(arguments: tuple[str, str, int, int]) -> dict[str, float]:
    """Counts for one task and reset preset."""
    task, randomization, episodes, seed = arguments
    env = KitchenEnv(task, randomization=randomization, cameras=())
    expert = make_expert(env)
    counts = {"reach": 0, "clean": 0, "noisy": 0, "steps": 0, "act_s": 0.0, "acts": 0}
    for episode_seed in episode_seeds("tuning", seed, episodes):
        env.reset(seed=int(episode_seed))
        if not handle_in_reach(env):
            continue
        counts["reach"] += 1
        for kind, noise in (("clean", 0.0), ("noisy", NOISE)):
            if kind == "noisy" and randomization != "default":
                continue
            env.reset(seed=int(episode_seed))
            expert.reset()
            generator = np.random.default_rng([int(episode_seed), 1])
            steps = 0
            while True:
                began = time.perf_counter()
                action = expert.act()
                counts["act_s"] += time.perf_counter() - began
                counts["acts"] += 1
                action[:7] += noise * generator.normal(size=7)
                _, _, terminated, truncated, info = env.step(np.clip(action, -1, 1))
                steps += 1
                if terminated or truncated:
                    break
            counts[kind] += info["success"]
            counts["steps"] += steps * (kind == "noisy")
    return counts


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=4321)
    parser.add_argument("--tasks", default=",".join(KITCHEN_TASKS))
    options = parser.parse_args()
    tasks = options.tasks.split(",")
    print(f"expert version {EXPERT_VERSION}, {options.episodes} resets a preset, noise {NOISE}")
    print("| task | in reach | success | with noise | mean steps | fk1: in reach | fk1: success |")
    print("|---|---|---|---|---|---|---|")
    jobs = [(t, r, options.episodes, options.seed) for t in tasks for r in ("default", "fk1")]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        results = pool.map(measure, jobs)
        for task in tasks:
            default, fk1 = next(results), next(results)
            reach = int(default["reach"])
            print(
                f"| {task} | {reach}/{options.episodes} | {int(default['clean'])}/{reach} "
                f"| {int(default['noisy'])}/{reach} | {default['steps'] / max(reach, 1):.0f} "
                f"| {int(fk1['reach'])}/{options.episodes} "
                f"| {int(fk1['clean'])}/{int(fk1['reach'])} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
