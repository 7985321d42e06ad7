"""What a rollout step costs, beside the sum of its parts, and what a second worker brings.

    python benchmarks/rollout_step.py [encoder] [episodes]

The parts are timed alone, in the same process and in turns with the rollouts, so that all meet the
same machine: physics and bookkeeping, drawing, encoding a full batch, the policy, and a reset an
episode. Episodes are short, and an untrained policy never succeeds, so that all have one length
and all batches are full. Prints milliseconds a step and the ratios that count: rollout over sum of
parts (to be at most 1.2), and one process over two workers (to be above 1).
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from egodtm_robot.encoders import make_encoder
from egodtm_robot.encoders.features import FeaturePipeline
from egodtm_robot.evaluation.environment_pool import EnvironmentPool
from egodtm_robot.evaluation.rollouts import evaluate
from envs.kitchen.config import KitchenConfig
from envs.registry import make_environment
from policies.base import make_policy
from policies.mlp import MLPPolicy, MLPPolicyConfig
from policies.spec import FeatureShape, PolicySpec

SLOTS, ROUNDS, HORIZON = 8, 3, 20


def main(encoder_name: str, episodes: int) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    config = KitchenConfig(horizon=HORIZON)
    factory = partial(make_environment, config)
    pipeline, policy = _agent(encoder_name, config)
    seeds = np.arange(episodes)
    steps = episodes * HORIZON

    def rollout(pool: EnvironmentPool) -> float:
        result = evaluate(policy, pipeline, config.cameras, pool, seeds)
        taken = sum(episode.steps for episode in result.episodes)
        assert taken == steps, "an untrained policy succeeded"
        return 1e3 * result.timings_s["total"] / steps

    rows: dict[str, list[float]] = {}
    with (
        EnvironmentPool(factory, workers=0, environments=SLOTS) as one,
        EnvironmentPool(factory, workers=2, environments=SLOTS) as two,
    ):
        rollout(one)  # first drawings compile shaders
        rollout(two)
        for _ in range(ROUNDS):
            for name, cost in _parts(config, pipeline, policy).items():
                rows.setdefault(name, []).append(cost)
            rows.setdefault("rollout, one process", []).append(rollout(one))
            rows.setdefault("rollout, two workers", []).append(rollout(two))
    columns = {name: np.array(values) for name, values in rows.items()}
    parts = sum(v for name, v in columns.items() if not name.startswith("rollout"))
    print(
        f"{encoder_name}, {config.name}, {config.resolution} px, {episodes} episodes of {HORIZON}"
    )
    for name, values in columns.items():
        print(f"{name:<22} {np.median(values):7.2f} ms a step")
    over_parts = np.median(columns["rollout, one process"] / parts)
    faster = np.median(columns["rollout, one process"] / columns["rollout, two workers"])
    print(f"{'sum of parts':<22} {np.median(parts):7.2f} ms a step")
    print(f"a rollout step costs {over_parts:.2f} times the sum of its parts (wanted: at most 1.2)")
    print(f"two workers are {faster:.2f} times as fast as one process (wanted: above 1)")


def _agent(encoder_name: str, config: KitchenConfig):  # type: ignore[no-untyped-def]
    encoder = make_encoder(encoder_name)
    size = (64, 1, config.resolution, config.resolution, 3)
    images = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    pipeline = FeaturePipeline.fit(encoder, {"left": encoder.encode(images)})
    shape = FeatureShape(pipeline.num_tokens, pipeline.dimension, pipeline.grid)
    spec = PolicySpec(9, 9, dict.fromkeys(config.cameras, shape))
    return pipeline, make_policy(
        MLPPolicy, MLPPolicyConfig(), spec, torch.Generator().manual_seed(0)
    )


def _parts(config, pipeline, policy) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Milliseconds a step of each part, timed alone."""
    blind = make_environment(config, modalities=())
    sighted = make_environment(config)
    action = np.zeros(9, np.float32)
    blind.reset(seed=0)
    sighted.reset(seed=0)
    cameras = [camera.name for camera in sighted.cameras]
    images = np.zeros((SLOTS, 1, config.resolution, config.resolution, 3), np.uint8)
    images[:, 0] = sighted.render_camera(cameras[0])
    features = {f"features/{camera}": pipeline.encode(images) for camera in cameras}
    observation = {"proprioception": np.zeros((SLOTS, 9), np.float32), **features}
    parts = {
        "physics": _milliseconds(lambda: blind.step(action), HORIZON - 1),
        "drawing": _milliseconds(lambda: [sighted.render_camera(c) for c in cameras], HORIZON),
        "encoding": _milliseconds(lambda: [pipeline.encode(images) for _ in cameras], 10) / SLOTS,
        "policy": _milliseconds(lambda: policy.predict(observation), 30) / SLOTS,
        "reset": _milliseconds(lambda: sighted.reset(seed=0), 5) / HORIZON,
    }
    blind.close()
    sighted.close()
    return parts


def _milliseconds(call: Callable[[], object], times: int) -> float:
    call()
    began = time.perf_counter()
    for _ in range(times):
        call()
    return 1e3 * (time.perf_counter() - began) / times


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "efficientnet_lite0",
        int(sys.argv[2]) if len(sys.argv) > 2 else 2 * SLOTS,
    )
