"""What each policy costs: milliseconds of a training step, and of an action at batch 1.

    python benchmarks/policy_cost.py [policy ...]

Policies are those of ``configs/policy`` with their defaults, all on the same drawn features: one
camera of 7 x 7 tokens of 64 numbers, as EfficientNet-Lite0 gives them. Both are timed in turns over
all policies on one thread, in processor time, which other work on the machine hardly changes.
Prints a row for each: weights, milliseconds of a training step of 256 rows, minutes of 4,000 such
steps, and the median and the 95th percentile of one call of ``predict`` for one environment, which
has to fit into a control step of 80 ms beside drawing and encoding.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from egodtm_robot.learning.behavior_cloning import BehaviorCloningConfig, train
from egodtm_robot.learning.dataset import CachedFeatureDataset
from policies.base import Policy
from policies.registry import choose_policy, policy_names

ROUNDS, STEPS, CALLS = 3, 20, 100
EPISODES, LENGTH, PROPRIOCEPTION, ACTIONS = 40, 50, 9, 9
TOKENS, CHANNELS, GRID = 49, 64, (7, 7)
CONTROL_STEP_MS = 80


def main(names: list[str]) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    dataset = _dataset()
    training: dict[str, list[float]] = {name: [] for name in names}
    calls: dict[str, list[float]] = {name: [] for name in names}
    policies: dict[str, Policy] = {}
    for _ in range(ROUNDS):
        for name in names:
            policies[name], cost = _train(name, dataset)
            training[name].append(cost)
            calls[name] += _act(policies[name])
    print(
        f"{'policy':<20} {'weights':>8} {'ms a step':>10} {'min of 4,000':>13} "
        f"{'ms an action':>13} {'95 %':>7} {'of 80 ms':>9}"
    )
    for name in names:
        weights = sum(weight.numel() for weight in policies[name].parameters())
        step = float(np.median(training[name]))
        action, slow = np.percentile(calls[name], [50, 95])
        print(
            f"{name:<20} {weights:>8,} {step:>10.1f} {step * 4 / 60:>13.1f} {action:>13.2f} "
            f"{slow:>7.2f} {action / CONTROL_STEP_MS:>9.1%}"
        )


def _dataset() -> CachedFeatureDataset:
    generator = np.random.default_rng(0)
    steps = EPISODES * LENGTH
    return CachedFeatureDataset(
        proprioception=generator.normal(size=(steps, PROPRIOCEPTION)).astype(np.float32),
        features={"wrist": generator.normal(size=(steps, TOKENS, CHANNELS)).astype(np.float32)},
        actions=generator.uniform(-1, 1, (steps, ACTIONS)).astype(np.float32),
        episode_offsets=np.arange(EPISODES + 1) * LENGTH,
        grids={"wrist": GRID},
    )


def _train(name: str, dataset: CachedFeatureDataset) -> tuple[Policy, float]:
    """A policy after a few steps, and milliseconds of each, without those of the preparation."""
    config = BehaviorCloningConfig(
        steps=2 * STEPS, batch_size=256, validation_fraction=0.0, validate_every=STEPS
    )
    clock: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            config,
            choose_policy(name),
            dataset,
            Path(folder),
            seed=0,
            progress=lambda *_: clock.append(time.process_time()),
        )
    return result.policy, 1e3 * (clock[1] - clock[0]) / STEPS if clock else 0.0


def _act(policy: Policy) -> list[float]:
    """Milliseconds of each call for one environment; those that plan and those that do not."""
    generator = np.random.default_rng(1)
    observation = {
        "proprioception": generator.normal(size=(1, PROPRIOCEPTION)).astype(np.float32),
        "features/wrist": generator.normal(size=(1, TOKENS, CHANNELS)).astype(np.float32),
    }
    state, taken = None, []
    for _ in range(CALLS):
        before = time.process_time()
        _, state = policy.predict(observation, state)
        taken.append(1e3 * (time.process_time() - before))
    return taken[CALLS // 10 :]


if __name__ == "__main__":
    main(sys.argv[1:] or [name for name in policy_names() if name != "custom"])
