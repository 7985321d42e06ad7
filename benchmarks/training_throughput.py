"""What training on cached features costs, beside a bare loop and beside encoding every minibatch.

    python benchmarks/training_throughput.py [encoder]

Three ways to take gradient steps with the same head, in turns so that all meet the same machine:

- ours: ``egodtm_robot.learning.behavior_cloning.train`` with checkpoints, validation and guards;
- bare: the shortest loop that takes the same steps on the same features in memory;
- reference: the bare loop on images that pass the frozen encoder in every minibatch, as R3M's
  released evaluation does.

Prints steps a second of each, and the ratios that count: bare over ours (to be at most 1.3) and
ours over reference (to be at least 50).
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from egodtm_robot.encoders import make_encoder
from egodtm_robot.encoders.features import FeaturePipeline
from egodtm_robot.learning.behavior_cloning import BehaviorCloningConfig, train
from egodtm_robot.learning.dataset import CachedFeatureDataset
from policies.base import make_policy
from policies.mlp import MLPPolicy, MLPPolicyConfig
from policies.registry import choose_policy

EPISODES, LENGTH, RESOLUTION = 50, 50, 112
BATCH = 64  # protocol=quick and protocol=standard
STEPS, REFERENCE_STEPS, ROUNDS = 1_000, 6, 5


def main(encoder_name: str) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    encoder = make_encoder(encoder_name)
    rows = EPISODES * LENGTH
    sample = generator.integers(0, 256, (64, 1, RESOLUTION, RESOLUTION, 3), dtype=np.uint8)
    pipeline = FeaturePipeline.fit(encoder, {"left": encoder.encode(sample)})
    shape = (rows, pipeline.num_tokens, pipeline.dimension)
    dataset = CachedFeatureDataset(
        proprioception=generator.normal(size=(rows, 9)).astype(np.float32),
        features={"left": generator.normal(size=shape).astype(np.float32)},
        actions=generator.uniform(-1, 1, (rows, 9)).astype(np.float32),
        episode_offsets=np.arange(EPISODES + 1) * LENGTH,
        grids={"left": pipeline.grid},
    )
    rates: dict[str, list[float]] = {"ours": [], "bare": [], "reference": []}
    ours(dataset, 50)  # the optimizer's first use imports for seconds
    for _ in range(ROUNDS):
        rates["ours"].append(ours(dataset, STEPS))
        rates["bare"].append(bare(dataset, STEPS))
        rates["reference"].append(reference(dataset, pipeline, sample, REFERENCE_STEPS))
    medians = {name: float(np.median(values)) for name, values in rates.items()}
    over_bare = float(np.median(np.array(rates["bare"]) / np.array(rates["ours"])))
    over_reference = float(np.median(np.array(rates["ours"]) / np.array(rates["reference"])))
    print(f"{encoder_name}: tokens {shape[1]} x {shape[2]}, batch {BATCH}, one thread")
    for name, rate in medians.items():
        print(f"{name:<10} {rate:9.1f} steps/s")
    print(f"ours costs {over_bare:.2f} times the bare loop (wanted: at most 1.3)")
    print(f"ours is {over_reference:.0f} times as fast as the reference (wanted: at least 50)")


def ours(dataset: CachedFeatureDataset, steps: int) -> float:
    """Steps a second of the real thing."""
    config = BehaviorCloningConfig(steps=steps, batch_size=BATCH)
    with tempfile.TemporaryDirectory() as folder:
        result = train(config, choose_policy("mlp"), dataset, Path(folder), seed=0)
    return steps / result.seconds


def bare(dataset: CachedFeatureDataset, steps: int) -> float:
    """Steps a second of the shortest loop."""
    policy, optimizer = _policy(dataset)
    with torch.no_grad():
        inputs = policy.embed(_observation(dataset, slice(None)))
    targets = policy.action_statistics(torch.from_numpy(dataset.actions))
    generator = torch.Generator().manual_seed(0)
    order = torch.empty(0, dtype=torch.int64)
    began = time.perf_counter()
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(inputs), generator=generator)
        batch, order = order[:BATCH], order[BATCH:]
        loss = functional.mse_loss(policy(inputs[batch])[:, 0], targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return steps / (time.perf_counter() - began)


def reference(
    dataset: CachedFeatureDataset, pipeline: FeaturePipeline, sample: np.ndarray, steps: int
) -> float:
    """Steps a second where every minibatch's images are encoded again."""
    policy, optimizer = _policy(dataset)
    targets = policy.action_statistics(torch.from_numpy(dataset.actions))
    generator = np.random.default_rng(0)
    began = time.perf_counter()
    for _ in range(steps):
        batch = generator.integers(0, len(targets), BATCH)
        features = pipeline.encode(sample[batch % len(sample)])
        observation = {
            "proprioception": torch.from_numpy(dataset.proprioception[batch]),
            "features/left": torch.from_numpy(features),
        }
        loss = functional.mse_loss(policy(policy.embed(observation))[:, 0], targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return steps / (time.perf_counter() - began)


def _policy(dataset: CachedFeatureDataset):  # type: ignore[no-untyped-def]
    policy = make_policy(
        MLPPolicy, MLPPolicyConfig(), dataset.spec, torch.Generator().manual_seed(0)
    )
    policy.fit_statistics(_observation(dataset, slice(None)), torch.from_numpy(dataset.actions))
    return policy.train(), torch.optim.AdamW(policy.parameters(), lr=1e-3, fused=True)


def _observation(dataset: CachedFeatureDataset, rows: slice) -> dict[str, torch.Tensor]:
    return {
        "proprioception": torch.from_numpy(dataset.proprioception[rows]),
        "features/left": torch.from_numpy(dataset.features["left"][rows]),
    }


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "efficientnet_lite0")
