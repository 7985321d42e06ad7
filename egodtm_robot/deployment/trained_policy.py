"""What a run of ``train_bc`` left behind, put together again: policy, encoder, robot."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egodtm_robot.core.kinds import restored_config
from egodtm_robot.encoders import make_encoder
from egodtm_robot.encoders.features import PIPELINE_FILE, FeaturePipeline
from egodtm_robot.learning.run_checkpoint import find_checkpoint
from envs.recorded import RecordedConfig
from envs.registry import describe_environment, read_environment
from policies.base import Policy
from policies.checkpoints import load_policy


@dataclass(frozen=True)
class TrainedPolicy:
    """A policy with everything that it was trained with.

    Attributes:
        policy: in evaluation mode, on the CPU.
        pipeline: the encoder and the reduction of its channels.
        robot: what is known of the robot, as plain JSON; see :func:`robot_of`.
        provenance: what the checkpoint says of its training.
    """

    policy: Policy
    pipeline: FeaturePipeline
    robot: dict[str, Any]
    provenance: dict[str, Any]


def load_trained_policy(path: Path) -> TrainedPolicy:
    """Read a run's policy.

    Args:
        path: the run's folder (its chosen checkpoint is read) or a checkpoint's own.

    Raises:
        CheckpointError: there is no policy, or it was trained on another encoder.
        WeightsError: the run's feature pipeline is missing.
        CheckpointMismatchError: the encoder is not the one of that run.
    """
    folder, run_dir = find_checkpoint(path)
    loaded = load_policy(folder)
    provenance = loaded.provenance
    encoder = make_encoder(restored_config("encoder", provenance["encoder_config"]))
    robot, states = robot_of(provenance)
    if states is not None:
        encoder.expect_states(states)
    pipeline = FeaturePipeline.load(run_dir / PIPELINE_FILE, encoder)
    loaded.require_encoder(pipeline.fingerprint)
    return TrainedPolicy(loaded.policy, pipeline, robot, provenance)


def robot_of(provenance: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """What a checkpoint's provenance says of the robot.

    Returns:
        ``name``, ``cameras`` with the [height, width] of their images, and ``control_dt`` in
        seconds or None; and the length of the simulator's state, None without a simulator.
    """
    if "robot" in provenance:
        return dict(provenance["robot"]), None
    env = read_environment(provenance["environment"])
    assert not isinstance(env, RecordedConfig)
    environment = describe_environment(env)
    cameras = {name: [env.resolution, env.resolution] for name in env.camera_names}
    robot = {
        "name": environment.name,
        "cameras": cameras,
        "control_dt": environment.control_dt,
    }
    return robot, environment.privileged_size
