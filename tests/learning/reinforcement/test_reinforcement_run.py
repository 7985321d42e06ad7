"""Reinforcement learning on the real kitchen, as small as it gets."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from egodtm_robot.comparison.run_folders import run_folders, run_provenance
from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import (
    CheckpointError,
    ConfigurationError,
    ResumeMismatchError,
    UnknownNameError,
)
from egodtm_robot.demos.collection import collect_demonstrations
from egodtm_robot.evaluation.results import FinishedRun
from egodtm_robot.learning.reinforcement import training
from egodtm_robot.learning.reinforcement.anchored_ppo import AnchoredPPO
from egodtm_robot.learning.reinforcement.reinforcement_run import TrainRLConfig, train_rl
from egodtm_robot.learning.run_checkpoint import LEARNED_POLICY, find_checkpoint
from egodtm_robot.rollout import RolloutConfig, rollout
from envs.registry import read_environment
from policies.checkpoints import load_policy

SMALL = [
    "env=franka_kitchen_light",
    "env.cameras=[]",
    "env.horizon=40",
    "encoder=oracle",
    "policy.hidden=[16]",
    "demos.episodes=2",
    "protocol.training.steps=40",
    "protocol.final_episodes=2",
    "evaluate_every=64",
    "evaluate_episodes=1",
    "workers=0",
    "environments=2",
    "device=cpu",
    "videos=0",
    "algorithm=ppo",
    "algorithm.num_envs=2",
    "algorithm.batch_size=32",
    "algorithm.steps=128",
]
PPO = ["algorithm.rollout_steps=16", "algorithm.epochs=1", "algorithm.critic_steps=32"]
SAC = ["algorithm=sac", "algorithm.first_steps=20", "algorithm.gradient_steps=1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demonstrations and the clone of all tests are."""
    path = tmp_path_factory.mktemp("reinforcement")
    env = read_environment(compose(TrainRLConfig, "train_rl", SMALL).env)
    collect_demonstrations(env, path / "demos", episodes=2, noise=0.05, workers=0)
    return path


def configure(place: Path, run: str, *overrides: str) -> TrainRLConfig:
    paths = [f"demos.path={place / 'demos'}", f"clone={place / 'clone'}", f"run_dir={place / run}"]
    return compose(TrainRLConfig, "train_rl", [*SMALL, *paths, *overrides])


def weights(folder: Path, step: int = 128) -> dict[str, np.ndarray]:
    path = folder / "checkpoints" / f"step_{step:07d}" / training.WEIGHTS
    return dict(safetensors.numpy.load_file(path))


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("ppo_clone", [*PPO, "start=clone"]),
        ("sac_residual", [*SAC, "start=residual"]),
    ],
)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    place: Path, name: str, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, folder = train_rl(configure(place, name, *overrides))
    assert [entry["step"] for entry in results.checkpoints] == [0, 64, 128]
    assert results.reinforcement is not None
    assert results.reinforcement["clone"] == str(place / "clone")
    outcomes = FinishedRun.load(folder).outcomes
    assert outcomes is not None
    # The clone's run is paired with it: same protocol, same episodes.
    clone = FinishedRun.load(place / "clone")
    assert clone.outcomes is not None
    assert [row.episode_seed for row in clone.outcomes] == [row.episode_seed for row in outcomes]
    assert run_provenance(clone).agrees(run_provenance(FinishedRun.load(folder)))

    class Stopped(Exception):
        pass

    def stop(model: BaseAlgorithm, path: Path) -> None:
        write(model, path)
        if model.num_timesteps == 128:  # before the state of this step is saved
            raise Stopped

    write = training._write_checkpoint
    monkeypatch.setattr(training, "_write_checkpoint", stop)
    config = configure(place, f"{name}_stopped", *overrides)
    with pytest.raises(Stopped):
        train_rl(config)
    monkeypatch.undo()
    torch.rand(3)  # the process that goes on has other generators
    np.random.random(3)  # noqa: NPY002
    again, again_folder = train_rl(config)
    assert again.checkpoints == results.checkpoints
    for one, other in zip(weights(folder).items(), weights(again_folder).items(), strict=True):
        np.testing.assert_equal(one, other)
    assert (folder / "outcomes.csv").read_bytes() == (again_folder / "outcomes.csv").read_bytes()
    # The policy alone repeats the final episodes, without Stable-Baselines3 and without the clone.
    rolled = rollout(RolloutConfig(str(folder), episodes=2, device="cpu", workers=0))
    for row, episode in zip(outcomes, rolled["episode_results"], strict=True):
        assert (row.episode_seed, row.success) == (episode["seed"], episode["success"])
        np.testing.assert_allclose(row.progress, episode["progress"], atol=1e-4)
    moved = [
        name
        for name, array in weights(folder).items()
        if not np.array_equal(array, weights(folder, 0)[name])
    ]
    assert any(name.startswith(("mlp_extractor.policy_net", "actor.latent_pi")) for name in moved)


def test_the_actor_starts_as_the_clone_and_waits_for_the_critic(place: Path) -> None:
    waiting = [*PPO[:2], "algorithm.critic_steps=64", "algorithm.steps=64", "start=clone"]
    _, folder = train_rl(configure(place, "waiting", *waiting))
    first, last = weights(folder, 0), weights(folder, 64)
    actor = ("mlp_extractor.policy_net", "action_net", "log_std", "pi_features")
    for name, array in first.items():
        if name.startswith(actor):
            np.testing.assert_array_equal(array, last[name], err_msg=name)
    assert not np.array_equal(first["value_net.weight"], last["value_net.weight"])
    model = AnchoredPPO.load(folder / "checkpoints" / "step_0000000" / training.ARCHIVE)
    clone = load_policy(place / "clone" / "checkpoints" / "step_0000040").policy
    generator = np.random.default_rng(0)
    observation = {
        "proprioception": generator.normal(size=(5, 9)).astype(np.float32),
        "features/state": generator.normal(size=(5, 1, 15)).astype(np.float32),
    }
    expected, _ = clone.predict(observation)
    found, _ = model.predict(observation, deterministic=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(expected).max() > 0.05


def test_callbacks_are_called_and_may_end_the_run(place: Path, tmp_path: Path) -> None:
    of = "_target_: stable_baselines3.common.callbacks"
    saving = f"{{{of}.CheckpointCallback, save_freq: 16, save_path: {tmp_path / 'zips'}}}"
    ending = f"{{{of}.StopTrainingOnMaxEpisodes, max_episodes: 1}}"
    chosen = ["start=scratch", "evaluate_every=128", f"callbacks=[{saving},{ending}]"]
    results, _ = train_rl(configure(place, "callbacks", *PPO, *chosen))
    # Two environments end their first episodes after 40 steps each.
    assert [entry["step"] for entry in results.checkpoints] == [0, 80]
    assert len(list((tmp_path / "zips").iterdir())) == 2
    with pytest.raises(ConfigurationError, match="frequency"):
        train_rl(
            configure(
                place, "refused", "callbacks=[" + saving.replace("save_freq", "frequency") + "]"
            )
        )
    with pytest.raises(ConfigurationError, match=r"callbacks\._target_"):
        train_rl(configure(place, "refused", "callbacks=[{_target_: builtins.dict}]"))


def test_bad_starts_and_other_settings_are_refused(place: Path) -> None:
    with pytest.raises(ConfigurationError, match="start=residual"):
        train_rl(configure(place, "refused", *SAC, "start=clone"))
    with pytest.raises(ConfigurationError, match="action_chunk=2"):
        train_rl(configure(place, "refused", "start=clone", "policy.action_chunk=2"))
    with pytest.raises(ResumeMismatchError, match="training.steps"):
        train_rl(configure(place, "refused", "protocol.training.steps=41"))
    with pytest.raises(UnknownNameError, match="rollout_step"):
        configure(place, "refused", "+algorithm.rollout_step=3")
    with pytest.raises(ConfigurationError, match="algorithm.batch_size"):
        configure(place, "refused", "algorithm.batch_size=1")
    assert not (place / "refused").exists()


def test_scratch_needs_no_clone_and_has_a_folder_of_its_own(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(place / "nothing", ignore_errors=True)
    config = configure(place, "x", *PPO, "start=scratch", "algorithm.steps=32")
    config.run_dir, config.clone = None, str(place / "nothing")
    results, folder = train_rl(config)
    assert folder.parent.name.startswith("oracle-ppo-")
    assert results.policy == "mlp+ppo"
    assert not (place / "nothing").exists()
    assert run_folders(tmp_path) == [(tmp_path / folder).resolve()]
    assert train_rl(config)[0] == results
    shutil.rmtree(folder / LEARNED_POLICY)
    with pytest.raises(CheckpointError, match="earlier version"):
        find_checkpoint(folder)
