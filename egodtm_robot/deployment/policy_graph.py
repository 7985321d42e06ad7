"""A policy with its encoder as one network: a robot's images and joints in, its actions out.

The network has no memory. What a policy remembers in a rollout are frames, so they are inputs: the
last N images of each camera and the last T states of the robot, the first of an episode repeated
before it. What a policy draws is an input too. What it gives is the whole plan of C actions.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import egodtm_robot
from egodtm_robot.core.errors import PolicyOptionError
from egodtm_robot.core.graphs import Graph
from egodtm_robot.deployment.encoder_graph import PipelineNetwork, encoder_record, random_images
from egodtm_robot.encoders.features import FeaturePipeline
from policies.base import Policy, PolicyState
from policies.sampling import RowGenerators
from policies.spec import FEATURES_PREFIX, PROPRIOCEPTION

IMAGES_PREFIX = "images/"
NOISE = "noise"
ACTIONS = "actions"


class PolicyNetwork(nn.Module):
    """See the module.

    Args:
        policy: in evaluation mode, on the CPU.
        pipeline: the encoder and reduction that it was trained on.
        draws: numbers that a row of its plan draws.

    Raises:
        EncoderOptionError: no robot could run the encoder.
    """

    action_center: Tensor
    action_half: Tensor

    def __init__(self, policy: Policy, pipeline: FeaturePipeline, draws: int = 0) -> None:
        super().__init__()
        self.policy = policy
        self.features = PipelineNetwork(pipeline)
        self.sees = pipeline.source == "rgb"
        self.encoder_frames = pipeline.history
        self.draws = draws
        limits = policy.spec.action_range
        self.has_units = limits is not None
        if limits is not None:
            self.register_buffer("action_center", torch.from_numpy(limits.center))
            self.register_buffer("action_half", torch.from_numpy(limits.half))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Plans (B, C, A).

        Args:
            inputs: float32 (B, T, P), the last states; for an encoder of images uint8
                (B, N, H, W, 3) a camera, in the order of the policy's specification, where N is
                T and the encoder's own window less one; and float32 (B, K), what is drawn, for a
                policy that draws.
        """
        states, *rest = inputs
        history = self.policy.history
        observation = {PROPRIOCEPTION: states.flatten(0, 1)}
        for index, camera in enumerate(self.policy.spec.features):
            windows = observation[PROPRIOCEPTION]
            if self.sees:
                images = rest[index]
                frames = [images[:, t : t + self.encoder_frames] for t in range(history)]
                windows = torch.stack(frames, dim=1).flatten(0, 1)
            observation[FEATURES_PREFIX + camera] = self.features(windows)
        embedded = self.policy.precompute(observation)
        remembered = {name: values.unflatten(0, (-1, history)) for name, values in embedded.items()}
        drawn: Any = _Given(rest[-1]) if self.draws else None
        plan = self.policy.plan(remembered, drawn).clamp(-1.0, 1.0)
        return plan * self.action_half + self.action_center if self.has_units else plan


def policy_graph(
    policy: Policy, pipeline: FeaturePipeline, robot: Mapping[str, Any], record: Mapping[str, Any]
) -> Graph:
    """A policy with its encoder.

    Args:
        policy: on the CPU.
        pipeline: what it was trained on.
        robot: ``cameras`` with the (height, width) of their images by name, if it is known the
            ``low`` and ``high`` of ``proprioception``, and what else the file should say of it.
        record: what else the file should say of the policy.

    Raises:
        EncoderOptionError: no robot could run the encoder.
        PolicyOptionError: the policy draws in a way that cannot be an input.
    """
    spec, history = policy.spec, policy.history
    frames = history + pipeline.history - 1
    sizes = {}
    if pipeline.source == "rgb":
        sizes = {name: tuple(robot["cameras"][name]) for name in spec.features}
    # Around the demonstrated states: far from them every plan is at a limit, and equal by that.
    seen = robot.get("proprioception", {"low": -1.0, "high": 1.0})
    limits = (seen["low"], seen["high"])
    draws = 0

    def sample(rows: int, seed: int) -> dict[str, np.ndarray]:
        generator = np.random.default_rng([seed, rows])
        shape = (rows, history, spec.proprioception)
        inputs = {PROPRIOCEPTION: generator.uniform(*limits, shape).astype(np.float32)}
        for number, (name, size) in enumerate(sizes.items()):
            inputs[IMAGES_PREFIX + name] = random_images(rows, frames, size, seed + 100 * number)
        if draws:
            inputs[NOISE] = generator.standard_normal((rows, draws)).astype(np.float32)
        return inputs

    def reference(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        drawn = _Given(torch.from_numpy(inputs[NOISE])) if draws else None
        return _plans(policy, pipeline, inputs, drawn)

    if policy.samples:
        counting = _Counting(1)
        _plans(policy, pipeline, sample(1, 0), counting)
        if counting.uniforms:
            raise PolicyOptionError(
                f"Expected policy {policy.kind} to draw normal numbers alone, which a file takes "
                "as an input; it draws uniform ones. Draw with generator.normal in its plan."
            )
        draws = counting.normals
    units = spec.action_range
    return Graph(
        name=f"policy {policy.kind}",
        module=PolicyNetwork(policy, pipeline, draws).eval(),
        sample=sample,
        output=ACTIONS,
        reference=reference,
        unit=None if units is None else np.where(units.half > 0, units.half, 1.0),
        metadata={
            "kind": "policy",
            "package": egodtm_robot.__version__,
            "policy": {"kind": policy.kind, "version": policy.version, **record},
            "encoder": encoder_record(pipeline),
            "robot": dict(robot),
            "history": history,
            "frames": frames,
            "action_chunk": policy.chunk,
            "execute": steps_of_a_plan(policy),
            "ensemble": getattr(policy.config, "ensemble", None),
            "actions": {
                "size": spec.actions,
                "units": "normalized" if units is None else "robot",
                "low": [-1.0] * spec.actions if units is None else list(units.low),
                "high": [1.0] * spec.actions if units is None else list(units.high),
            },
        },
    )


def steps_of_a_plan(policy: Policy) -> int:
    """Actions of a plan that the policy executes before it makes the next, by its own rule."""
    starts = np.ones(1, dtype=bool)
    memory: PolicyState = {}
    for step in range(policy.chunk):
        due = policy.plan_is_due(memory, starts)
        if step and due[0]:
            return step
        plans = np.zeros((1, policy.chunk, policy.spec.actions), dtype=np.float32)
        _, memory = policy.execute(plans, due, memory, starts)
        starts = np.zeros(1, dtype=bool)
    return policy.chunk


def _plans(
    policy: Policy, pipeline: FeaturePipeline, inputs: Mapping[str, np.ndarray], drawn: Any
) -> np.ndarray:
    """Plans (B, C, A) computed by the parts themselves: encode, precompute, plan."""
    history, rows = policy.history, len(inputs[PROPRIOCEPTION])
    embedded: list[dict[str, Tensor]] = []
    with torch.inference_mode():
        for t in range(history):
            observation = {PROPRIOCEPTION: inputs[PROPRIOCEPTION][:, t]}
            for camera in policy.spec.features:
                windows = np.zeros((rows, pipeline.history, 0), np.float32)
                if pipeline.source == "rgb":
                    windows = inputs[IMAGES_PREFIX + camera][:, t : t + pipeline.history]
                observation[FEATURES_PREFIX + camera] = pipeline.encode(windows)
            embedded.append(dict(policy.precompute(policy.tensors(observation))))
        remembered = {
            name: torch.stack([frame[name] for frame in embedded], dim=1) for name in embedded[0]
        }
        plan = policy.plan(remembered, drawn).clamp(-1.0, 1.0).numpy()
    limits = policy.spec.action_range
    return plan if limits is None else limits.restore(plan)


class _Given:
    """Numbers that are handed out in the place of drawn ones, see :class:`RowGenerators`."""

    def __init__(self, numbers: Tensor) -> None:
        self._numbers = numbers
        self._used = 0

    def normal(self, *shape: int) -> Tensor:
        """The next numbers, float32 (B, *shape)."""
        count = int(np.prod(shape))
        found = self._numbers[:, self._used : self._used + count]
        self._used += count
        return found.reshape(-1, *shape)


class _Counting(RowGenerators):
    """Draws, and counts the numbers of a row.

    Args:
        rows: of the batch.
    """

    def __init__(self, rows: int) -> None:
        super().__init__(np.zeros(rows, dtype=np.int64), "cpu")
        self.normals = self.uniforms = 0

    def normal(self, *shape: int) -> Tensor:
        """See :class:`RowGenerators`."""
        self.normals += int(np.prod(shape))
        return super().normal(*shape)

    def uniform(self, *shape: int) -> Tensor:
        """See :class:`RowGenerators`."""
        self.uniforms += int(np.prod(shape))
        return super().uniform(*shape)
