"""Policies that act as the actors of Stable-Baselines3 do."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy, MultiInputActorCriticPolicy
from stable_baselines3.sac.policies import MultiInputPolicy

from egodtm_robot.core.errors import PolicyOptionError
from egodtm_robot.core.graphs import Graph, GraphFormat, write_graph
from egodtm_robot.deployment.policy_graph import PolicyNetwork, policy_graph
from egodtm_robot.encoders.features import FeaturePipeline
from egodtm_robot.encoders.state import NoEncoder
from egodtm_robot.learning.reinforcement.agent import Agent
from egodtm_robot.learning.reinforcement.features_extractor import TokenFeatures
from egodtm_robot.learning.reinforcement.learned_policy import learned_policy
from policies.actor import BASE_ACTION, ActorPolicy
from policies.base import Policy
from policies.checkpoints import load_policy, save_policy
from policies.mlp import MLPPolicy, MLPPolicyConfig
from policies.spec import FeatureShape, PolicySpec

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_encoders import FramePair

SPEC = PolicySpec(3, 2, {"left": FeatureShape(1, 5)})
SCALE = np.array([0.2, 0.4], np.float32)


def observations(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {
        "proprioception": draw.normal(size=(rows, 3)).astype(np.float32),
        "features/left": draw.normal(size=(rows, 1, 5)).astype(np.float32),
    }


def mlp(**options: int) -> MLPPolicy:
    policy = MLPPolicy(MLPPolicyConfig(hidden=[8], **options), SPEC)
    policy.initialize(torch.Generator().manual_seed(3))
    return policy.eval()


def actor(kind: str, residual: bool) -> BasePolicy:
    torch.manual_seed(0)
    shapes = {"proprioception": (3,), "features/left": (1, 5)}
    if residual:
        shapes[BASE_ACTION] = (2,)
    boxes = {name: spaces.Box(-np.inf, np.inf, shape) for name, shape in shapes.items()}
    settings = {
        "features_extractor_class": TokenFeatures,
        "features_extractor_kwargs": {"trunk": mlp()},
        "net_arch": [7, 6],
        "activation_fn": torch.nn.ReLU,
    }
    made = MultiInputActorCriticPolicy if kind == "ppo" else MultiInputPolicy
    space = spaces.Box(-1.0, 1.0, (2,))
    found = made(spaces.Dict(boxes), space, lambda _: 1e-3, **settings)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return found


def saved(policy: Policy, folder: Path) -> Policy:
    save_policy(policy, folder / "policy", {})
    return load_policy(folder / "policy").policy


def correction(boxes: dict[str, spaces.Space], base: MLPPolicy) -> MultiInputPolicy:
    """A network of Stable-Baselines3 that reads what the clone reads, and its action."""
    return MultiInputPolicy(
        spaces.Dict(boxes),
        spaces.Box(-1.0, 1.0, (2,)),
        lambda _: 1e-3,
        net_arch=[6],
        features_extractor_class=TokenFeatures,
        features_extractor_kwargs={"trunk": base},
    )


@pytest.mark.parametrize("kind", ["ppo", "sac"])
@pytest.mark.parametrize("base", [None, {}, {"history": 2, "action_chunk": 3}])
def test_a_policy_acts_as_the_actor_over_episodes(
    kind: str, base: dict[str, int] | None, tmp_path: Path
) -> None:
    frozen = None if base is None else mlp(**base)
    agent = Agent(actor(kind, frozen is not None), frozen, SCALE)
    made = learned_policy(agent.actor, frozen, SCALE)
    assert made is not None
    policy = saved(made, tmp_path)
    states = [None, None]
    acted = []
    for step in range(5):
        seen, starts = observations(4, step), np.array([step == 0, step == 3, False, False])
        first, states[0] = agent.predict(seen, states[0], starts)
        second, states[1] = policy.predict(seen, states[1], starts)
        np.testing.assert_allclose(first, second, atol=1e-6)
        acted.append(first)
    assert np.std(acted) > 0.1
    single = {name: array[0] for name, array in observations(1).items()}
    assert policy.predict(single)[0].shape == (2,)


def test_a_correction_of_a_policy_without_memory_is_one_network() -> None:
    # An encoder that sees nothing: the network's inputs are the robot's state alone.
    spec = PolicySpec(3, 2, {})
    base = MLPPolicy(MLPPolicyConfig(hidden=[8]), spec)
    base.initialize(torch.Generator().manual_seed(1))
    boxes = {"proprioception": spaces.Box(-9, 9, (3,)), BASE_ACTION: spaces.Box(-1, 1, (2,))}
    found = correction(boxes, base)
    policy = learned_policy(found, base, SCALE)
    assert policy is not None
    states = observations(3)["proprioception"]
    expected, _ = Agent(found, base, SCALE).predict({"proprioception": states})
    with torch.inference_mode():
        plan = PolicyNetwork(policy, FeaturePipeline(NoEncoder()))(
            torch.from_numpy(states)[:, None]
        )
    np.testing.assert_allclose(plan[:, 0].numpy(), expected, atol=1e-6)


FRAMES = PolicySpec(3, 2, {"left": FeatureShape(4, 2)})
ROBOT = {"cameras": {"left": (16, 20)}}


def correction_graph(base: MLPPolicy) -> Graph:
    """What SAC made of a clone that sees what FramePair does, as one network."""
    base.initialize(torch.Generator().manual_seed(1))
    boxes = {
        "proprioception": spaces.Box(-9, 9, (3,)),
        "features/left": spaces.Box(-9, 9, (4, 2)),
        BASE_ACTION: spaces.Box(-1, 1, (2,)),
    }
    found = correction(boxes, base)
    policy = learned_policy(found, base.eval(), SCALE)
    assert policy is not None
    return policy_graph(policy, FeaturePipeline(FramePair()), ROBOT, {})


@pytest.mark.parametrize(("format", "suffix"), [("onnx", "onnx"), ("torch_export", "pt2")])
def test_a_correction_is_written_with_its_clone_and_encoder(
    tmp_path: Path, format: GraphFormat, suffix: str
) -> None:
    base = MLPPolicy(MLPPolicyConfig(hidden=[8]), FRAMES)
    graph = correction_graph(base)
    assert list(graph.sample(1, 0)) == ["proprioception", "images/left"]
    # The file is compared with encoder, clone and correction before it gets its name.
    write_graph(graph, tmp_path / f"policy.{suffix}", format)
    alone = policy_graph(base, FeaturePipeline(FramePair()), ROBOT, {})
    inputs = graph.sample(4, 1)
    corrections = np.abs(graph.reference(inputs) - alone.reference(inputs)).reshape(-1, 2)
    assert corrections.max() > 0.01
    assert (corrections <= SCALE + 1e-6).all()


def test_a_correction_of_a_policy_with_memory_is_refused_as_one_network(tmp_path: Path) -> None:
    base = mlp(history=2)
    policy = learned_policy(actor("sac", True), base, SCALE)
    assert isinstance(policy, ActorPolicy)
    with pytest.raises(PolicyOptionError, match="history=2"):
        policy.precompute(policy.tensors(observations(2)))
    graph = correction_graph(MLPPolicy(MLPPolicyConfig(hidden=[8], action_chunk=3), FRAMES))
    with pytest.raises(PolicyOptionError, match="action_chunk=3"):
        write_graph(graph, tmp_path / "policy.pt2", "torch_export")
    assert not list(tmp_path.iterdir())
    with pytest.raises(PolicyOptionError, match="train_rl"):
        policy.loss(None)  # type: ignore[arg-type]
