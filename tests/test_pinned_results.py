"""Results that no change of structure may move.

The values lie in ``tests/data/pinned``, beside a description of the machine that wrote them. On
such a machine every bit must be the same. Another processor or another version of a library rounds
differently; there, numbers are compared within a tolerance that rounding meets and a changed
algorithm does not, and the episodes of a trained policy, which small differences may turn, by the
number of successes alone. ``python -m tests.test_pinned_results`` writes the values again, which
only a change that is meant to move results may do.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from egodtm_robot.demos import DemonstrationStore, Episode
from egodtm_robot.encoders import make_encoder
from egodtm_robot.rollout import main as rollout
from egodtm_robot.train_bc import main as train_bc
from pretrain.run import main as pretrain

sys.path.append(str(Path(__file__).parent / "fakes"))
from fake_clips import make_store as make_clip_store
from fake_stores import ATTRIBUTES
from tiny_model import TINY_OVERRIDES

PINNED = Path(__file__).parent / "data" / "pinned"

# Encoders whose features published tables rest on.
ENCODERS = ("egodtm", "efficientnet_lite0", "vit_tiny_random", "pixels", "oracle", "none")

POLICY_RUN = [
    "env=franka_kitchen_light",
    "env.resolution=32",
    "demos.noise=0.05",
    "protocol.training.threads=1",
    "protocol.training.batch_size=64",
    "workers=0",
    "environments=2",
    "device=cpu",
    "videos=0",
]
POLICY_RUNS = {
    "oracle": [
        "encoder=oracle",
        "demos.episodes=20",
        "protocol.training.steps=1500",
        "protocol.final_episodes=6",
        "policy.hidden=[64,32]",
    ],
    "pixels": [
        "encoder=pixels",
        "demos.episodes=4",
        "protocol.training.steps=60",
        "protocol.training.checkpoints=2",
        "protocol.final_episodes=2",
        "policy.hidden=[16]",
        "policy.pooling.components=72",
        "policy.history=2",
        "policy.action_chunk=3",
    ],
}
"""One run on the simulator's state, whose episodes succeed and fail, and one on images with memory
and chunks of actions."""


def machine() -> dict[str, str]:
    """What rounding depends on."""
    cpu = Path("/proc/cpuinfo")
    described = ("vendor_id", "cpu family", "model", "flags")
    lines = [
        line
        for line in (cpu.read_text().splitlines() if cpu.is_file() else [platform.processor()])
        if line.partition("\t")[0] in described
    ]
    return {
        "processor": hashlib.sha256("\n".join(sorted(set(lines))).encode()).hexdigest()[:16],
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "blas": os.environ.get("OPENBLAS_CORETYPE", ""),
        **{name: importlib.metadata.version(name) for name in ("torch", "numpy", "mujoco")},
    }


def fingerprints() -> dict[str, str]:
    """Of each encoder with its defaults, in the kitchen."""
    encoders = {name: make_encoder(name) for name in ENCODERS}
    for encoder in encoders.values():
        encoder.expect_states(15)
    return {name: encoder.fingerprint for name, encoder in encoders.items()}


def policy_run(name: str, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a small run and a roll-out of its policy leave: plain values, and the weights."""
    run = folder / name
    train_bc([*POLICY_RUN, *POLICY_RUNS[name], f"demos.path={folder / 'demos'}", f"run_dir={run}"])
    rollout(
        [f"checkpoint={run}", "episodes=6", "device=cpu", "workers=0", f"out={run / 'again.json'}"]
    )
    results = json.loads((run / "results.json").read_text())
    again = json.loads((run / "again.json").read_text())
    last = sorted((run / "checkpoints").glob("step_*"))[-1]
    values = {
        "final": {key: results["final"][key] for key in ("episodes", "successes")},
        "encoder": results["encoder"],
        "demonstrations": {key: results["demos"][key] for key in ("kept", "attempted")},
        "episodes": [
            {key: episode[key] for key in ("seed", "success", "steps", "solved_step")}
            for episode in again["episode_results"]
        ],
    }
    return values, safetensors.numpy.load_file(last / "policy.safetensors")


def pretraining_run(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scores, curve and weights of a short pretraining on small clips."""
    make_clip_store(folder / "train", range(20))
    make_clip_store(folder / "held_out", range(20, 32))
    pretrain(
        [
            *TINY_OVERRIDES,
            "data=store",
            f"data.path={folder / 'train'}",
            f"data.validation={folder / 'held_out'}",
            f"run_dir={folder / 'run'}",
            "steps=6",
            "seed=2",
            "device=cpu",
        ]
    )
    results = json.loads((folder / "run" / "results.json").read_text())
    values = {
        key: results[key]
        for key in ("retrieval", "depth", "multiple_choice", "regions", "best_step", "curves")
    }
    weights = safetensors.numpy.load_file(folder / "run" / results["checkpoints"]["last"])
    # The largest tensors by their sums: the file stays small.
    return values, {
        name: (tensor if tensor.size <= 512 else np.array([tensor.sum(), np.abs(tensor).sum()]))
        for name, tensor in weights.items()
    }


def store_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a small demonstration store."""
    with DemonstrationStore.create(folder / "demos", ATTRIBUTES) as store:
        for seed in range(3):
            generator = np.random.default_rng(seed)
            steps = 5 + seed
            store.append_episode(
                Episode(
                    rgb={"left": generator.integers(0, 256, (steps, 8, 10, 3), dtype=np.uint8)},
                    proprioception=generator.standard_normal((steps, 9)).astype(np.float32),
                    privileged=generator.standard_normal((steps, 15)).astype(np.float32),
                    actions=generator.uniform(-1, 1, (steps, 9)).astype(np.float32),
                    simulator_state=generator.standard_normal((steps, 31)),
                    reset={"base_offset": generator.standard_normal(3), "seed": np.int64(seed)},
                    seed=seed,
                ),
                rejected_before=seed % 2,
            )
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "demos").rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture(scope="module")
def exact() -> bool:
    """Whether this machine rounds as the one did that wrote the values."""
    return machine() == pinned("machine")


def same(found: Any, expected: Any, exact: bool, where: str = "") -> None:
    """Compare nested plain values; speeds are not compared."""
    if isinstance(expected, dict):
        assert expected.keys() <= found.keys(), where
        for key, value in expected.items():
            same(found[key], value, exact, f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for index, value in enumerate(expected):
            same(found[index], value, exact, f"{where}/{index}")
    elif where.endswith(("_per_s", "loader_wait_fraction")):
        pass
    elif isinstance(expected, float) and not exact:
        assert found == pytest.approx(expected, rel=5e-3, abs=1e-4), where
    else:
        assert found == expected, where


def same_weights(
    found: dict[str, np.ndarray], expected: dict[str, np.ndarray], exact: bool
) -> None:
    """Compare tensors by name.

    Where the gradient of an element is zero but for rounding, as that of an attention's key biases
    is, Adam divides noise by noise: on another processor such an element moves elsewhere. They
    are few, and a changed algorithm moves nearly all.
    """
    assert found.keys() == expected.keys()
    elsewhere, total = {}, 0
    for name, tensor in expected.items():
        if exact:
            np.testing.assert_array_equal(found[name], tensor, err_msg=name)
        else:
            scale = max(float(np.abs(tensor).max()), 1e-3)
            near = np.isclose(found[name], tensor, rtol=5e-3, atol=5e-3 * scale)
            elsewhere[name] = int((~near).sum())
            total += near.size
    moved = {name: count for name, count in elsewhere.items() if count}
    assert sum(moved.values()) <= 0.01 * total, moved


def pinned(name: str) -> Any:
    return json.loads((PINNED / f"{name}.json").read_text())


def test_fingerprints_of_encoders_stay() -> None:
    assert fingerprints() == pinned("fingerprints")


@pytest.mark.parametrize("name", POLICY_RUNS)
def test_a_policy_run_ends_with_the_same_weights_and_outcomes(
    name: str, tmp_path: Path, exact: bool
) -> None:
    values, weights = policy_run(name, tmp_path)
    expected = pinned(f"policy_{name}")
    if not exact:
        successes = (values.pop("final")["successes"], expected.pop("final")["successes"])
        assert abs(successes[0] - successes[1]) <= 2
        for episode in (*values["episodes"], *expected["episodes"]):
            del episode["success"], episode["steps"], episode["solved_step"]
    same(values, expected, exact)
    if exact or name == "pixels":  # the other one is long for rounding
        weights_before = safetensors.numpy.load_file(PINNED / f"policy_{name}.safetensors")
        same_weights(weights, weights_before, exact)


def test_a_pretraining_run_ends_with_the_same_scores_and_weights(
    tmp_path: Path, exact: bool
) -> None:
    values, weights = pretraining_run(tmp_path)
    same(values, pinned("pretraining"), exact)
    same_weights(weights, safetensors.numpy.load_file(PINNED / "pretraining.safetensors"), exact)


def test_the_bytes_of_a_store_stay(tmp_path: Path) -> None:
    assert store_files(tmp_path) == pinned("store")


def write() -> None:
    """Write the values of the present code."""
    PINNED.mkdir(parents=True, exist_ok=True)

    def put(name: str, values: Any) -> None:
        (PINNED / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n")

    def in_folder(function: Callable[[Path], Any]) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            return function(Path(folder))

    put("machine", machine())
    put("fingerprints", fingerprints())
    put("store", in_folder(store_files))
    for name in POLICY_RUNS:
        values, weights = in_folder(lambda folder, name=name: policy_run(name, folder))
        put(f"policy_{name}", values)
        safetensors.numpy.save_file(weights, PINNED / f"policy_{name}.safetensors")
    values, weights = in_folder(pretraining_run)
    put("pretraining", values)
    safetensors.numpy.save_file(weights, PINNED / "pretraining.safetensors")


if __name__ == "__main__":
    write()
