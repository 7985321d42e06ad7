"""How long a robot waits for its action: the file that is exported, beside our own torch.

    python benchmarks/exported_policy.py [encoder] [cameras] [rounds]

One row, one thread, images of 112 x 112 pixels: encoder, reduction and policy (``policy=mlp``), in
turns in one process, so that both meet the same machine. The policy is not trained, which has no
say in the time. Our torch is measured with ``encoder.batch_size=1``, and as it evaluates: it fills
batches up, so that results do not depend on the number of environments.

Prints milliseconds of processor time, which other work on the machine moves less than wall time:
the median and the 95th percentile, their share of a control step of 80 ms, and the median ratio.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from egodtm_robot.core.graphs import write_graph
from egodtm_robot.deployment.policy_graph import policy_graph
from egodtm_robot.encoders import make_encoder
from egodtm_robot.encoders.features import FeaturePipeline
from policies.registry import choose_policy
from policies.spec import FEATURES_PREFIX, PROPRIOCEPTION, FeatureShape, PolicySpec

SIDE, STEPS, CONTROL_MS = 112, 64, 80


def main(encoder_name: str, cameras: int, rounds: int) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    alone = make_encoder({"name": encoder_name, "batch_size": 1})
    names = [f"camera{number}" for number in range(cameras)]
    encoder = make_encoder(encoder_name)
    shape = (STEPS, encoder.history, SIDE, SIDE, 3)
    images = {name: generator.integers(0, 256, shape, dtype=np.uint8) for name in names}
    tokens = {name: encoder.encode(frames) for name, frames in images.items()}
    pipeline = FeaturePipeline.fit(encoder, tokens)
    features = {name: pipeline.reduce(array) for name, array in tokens.items()}
    one = FeatureShape(pipeline.num_tokens, pipeline.dimension, pipeline.grid)
    policy = choose_policy("mlp").make(
        PolicySpec(9, 9, dict.fromkeys(names, one)), torch.Generator().manual_seed(0)
    )
    states = generator.standard_normal((STEPS, 9)).astype(np.float32)
    observation = {PROPRIOCEPTION: torch.from_numpy(states)}
    observation |= {
        FEATURES_PREFIX + name: torch.from_numpy(array) for name, array in features.items()
    }
    policy.fit_statistics(observation, torch.from_numpy(np.tanh(states)))
    policy.eval()

    robot = {"cameras": dict.fromkeys(names, (SIDE, SIDE))}
    graph = policy_graph(policy, pipeline, robot, {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.onnx"
        parity = write_graph(graph, path, "onnx")
        size = path.stat().st_size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options)

    inputs = graph.sample(1, 0)

    def original(own: FeaturePipeline) -> None:
        frame = {PROPRIOCEPTION: inputs[PROPRIOCEPTION][:, 0]}
        frame |= {FEATURES_PREFIX + name: own.encode(inputs[f"images/{name}"]) for name in names}
        policy.predict(frame)

    def exported() -> None:
        session.run(["actions"], inputs)

    ways: dict[str, Callable[[], None]] = {
        "our torch, as it evaluates": partial(original, pipeline),
        "our torch, batch_size=1": partial(original, FeaturePipeline(alone, pipeline.reducer)),
        "ONNX file": exported,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 5):
        for name, act in ways.items():
            began = time.process_time()
            act()
            if turn >= 5:  # the first calls allocate
                times[name].append(1e3 * (time.process_time() - began))
    print(
        f"{encoder_name}, {cameras} x {SIDE} x {SIDE} px, batch 1, 1 thread, {rounds} rounds; "
        f"file {size / 1e6:.1f} MB, parity {parity}"
    )
    file = np.array(times["ONNX file"])
    for name, values in times.items():
        median, late = np.median(values), np.percentile(values, 95)
        print(
            f"{name:<27} {median:6.2f} ms (95 % within {late:6.2f}), "
            f"{median / CONTROL_MS:6.1%} of {CONTROL_MS} ms, "
            f"{np.median(np.array(values) / file):5.1f} times the file"
        )


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "egodtm",
        int(sys.argv[2]) if len(sys.argv) > 2 else 2,
        int(sys.argv[3]) if len(sys.argv) > 3 else 200,
    )
