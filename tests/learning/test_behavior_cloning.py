import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.errors import (
    ConfigurationError,
    PoolingError,
    ResumeMismatchError,
    TrainingDivergedError,
    UnknownNameError,
)
from egodtm_robot.learning.behavior_cloning import BehaviorCloningConfig, train
from egodtm_robot.learning.dataset import split_episodes
from policies.checkpoints import load_policy
from policies.mlp import MLPPolicy, MLPPolicyConfig
from policies.pooling import PoolingConfig
from policies.registry import PolicyChoice

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_demonstrations import make_dataset

QUICK = BehaviorCloningConfig(steps=60, validate_every=20, save_every=20, checkpoints=2)


def mlp(**settings):
    return PolicyChoice(MLPPolicy, MLPPolicyConfig(**settings))


SMALL = mlp(hidden=[16])


def weights(result):
    return {name: tensor.clone() for name, tensor in result.policy.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_training_learns_what_the_demonstrations_do(tmp_path):
    config = BehaviorCloningConfig(steps=600, checkpoints=2)
    dataset = make_dataset(40)
    result = train(config, mlp(), dataset, tmp_path, seed=0)
    held_out = make_dataset(5, seed=9)
    actions, _ = result.policy.predict(
        {"proprioception": held_out.proprioception, "features/left": held_out.features["left"]}
    )
    error = np.mean((actions - held_out.actions) ** 2) / held_out.actions.var()
    assert error < 0.15
    assert result.checkpoints[-1].validation_loss < 0.2
    assert result.checkpoints[-1].train_loss < result.checkpoints[0].train_loss


@pytest.mark.parametrize("kind", ["principal", "grid", "spatial_softmax", "attention"])
@pytest.mark.parametrize(("history", "chunk"), [(1, 1), (3, 2)])
def test_the_same_seed_gives_the_same_weights(tmp_path, kind, history, chunk):
    policy = mlp(pooling=PoolingConfig(kind), hidden=[8], history=history, action_chunk=chunk)
    run = [
        weights(train(QUICK, policy, make_dataset(channels=20), tmp_path / name, seed=seed))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert_same(run[0], run[1])
    assert not torch.equal(run[0]["head.0.weight"], run[2]["head.0.weight"])


def test_checkpoints_hold_the_policy_of_their_step(tmp_path):
    result = train(
        QUICK, SMALL, make_dataset(), tmp_path, seed=0, provenance={"encoder_fingerprint": "f"}
    )
    assert [checkpoint.step for checkpoint in result.checkpoints] == [30, 60]
    last = load_policy(result.checkpoints[-1].path)
    assert_same(last.policy.state_dict(), weights(result))
    assert last.provenance["encoder_fingerprint"] == "f"
    assert last.provenance["step"] == 60
    assert last.provenance["validation_loss"] == result.checkpoints[-1].validation_loss


class Stop(Exception):
    pass


def stop_at(step):
    def progress(now, steps, loss):
        if now == step:
            raise Stop

    return progress


@pytest.mark.parametrize("kind", ["grid", "attention"])
@pytest.mark.parametrize("step", [20, 30, 40, 60])
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, kind, step):
    policy = mlp(pooling=PoolingConfig(kind), hidden=[8], history=2)
    whole = train(QUICK, policy, make_dataset(), tmp_path / "whole", seed=0)
    with pytest.raises(Stop):
        # Progress is reported before a step's state is saved, so this step is lost.
        train(QUICK, policy, make_dataset(), tmp_path / "cut", seed=0, progress=stop_at(step))
    resumed = train(QUICK, policy, make_dataset(), tmp_path / "cut", seed=0)
    assert resumed.resumed_step == (step - 1) // 20 * 20
    assert_same(weights(resumed), weights(whole))
    assert [(c.step, c.train_loss, c.validation_loss) for c in resumed.checkpoints] == [
        (c.step, c.train_loss, c.validation_loss) for c in whole.checkpoints
    ]
    for ours, theirs in zip(resumed.checkpoints, whole.checkpoints, strict=True):
        assert_same(
            load_policy(ours.path).policy.state_dict(), load_policy(theirs.path).policy.state_dict()
        )


def test_a_stopped_run_on_shifted_copies_goes_on_to_the_same_weights(tmp_path):
    plain = make_dataset()
    copies = np.stack([plain.features["left"] + shift for shift in (0.3, -0.3)])
    dataset = dataclasses.replace(plain, shifted={"left": copies})
    whole = train(QUICK, SMALL, dataset, tmp_path / "whole", seed=0)
    with pytest.raises(Stop):
        train(QUICK, SMALL, dataset, tmp_path / "cut", seed=0, progress=stop_at(40))
    resumed = train(QUICK, SMALL, dataset, tmp_path / "cut", seed=0)
    assert resumed.resumed_step == 20
    assert_same(weights(resumed), weights(whole))
    without = train(QUICK, SMALL, plain, tmp_path / "plain", seed=0)
    assert not torch.equal(weights(without)["head.0.weight"], weights(whole)["head.0.weight"])


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = train(QUICK, SMALL, make_dataset(), tmp_path, seed=0)
    again = train(QUICK, SMALL, make_dataset(), tmp_path, seed=0)
    assert again.resumed_step == QUICK.steps
    assert again.checkpoints == first.checkpoints
    assert_same(weights(again), weights(first))


def test_a_damaged_state_costs_the_steps_since_the_one_before(tmp_path):
    whole = train(QUICK, SMALL, make_dataset(), tmp_path, seed=0)
    states = sorted((tmp_path / "resume").iterdir())
    assert len(states) == 2
    states[-1].write_bytes(states[-1].read_bytes()[:-100])
    again = train(QUICK, SMALL, make_dataset(), tmp_path, seed=0)
    assert again.resumed_step == 40
    assert_same(weights(again), weights(whole))


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    train(QUICK, SMALL, make_dataset(), tmp_path, seed=0)
    with pytest.raises(ResumeMismatchError, match="seed: 0 -> 1"):
        train(QUICK, SMALL, make_dataset(), tmp_path, seed=1)
    with pytest.raises(ResumeMismatchError, match="dataset: demos -> other"):
        train(QUICK, SMALL, make_dataset(fingerprint="other"), tmp_path, seed=0)
    changed = dataclasses.replace(QUICK, learning_rate=0.01)
    with pytest.raises(ResumeMismatchError, match=r"learning_rate: 0\.001 -> 0\.01"):
        train(changed, SMALL, make_dataset(), tmp_path, seed=0)


KILLED_RUN = """
import importlib.util, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("this_module", {module!r})
this = importlib.util.module_from_spec(spec)
spec.loader.exec_module(this)
progress = lambda *_: time.sleep(0.2)
data = this.make_dataset(channels=20)
this.train(this.QUICK, this.SMALL, data, Path({out!r}), seed=0, progress=progress)
"""


def test_a_killed_process_is_resumed_to_the_same_weights(tmp_path):
    script = KILLED_RUN.format(module=__file__, out=str(tmp_path / "killed"))
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("killed/resume/state_0000020*")):
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    resumed = train(QUICK, SMALL, make_dataset(channels=20), tmp_path / "killed", seed=0)
    assert 20 <= resumed.resumed_step < QUICK.steps
    whole = train(QUICK, SMALL, make_dataset(channels=20), tmp_path / "whole", seed=0)
    assert_same(weights(resumed), weights(whole))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    config = dataclasses.replace(QUICK, learning_rate=1e30)
    with pytest.raises(TrainingDivergedError, match="Lower the learning rate"):
        train(config, SMALL, make_dataset(), tmp_path, seed=0)
    assert not list(tmp_path.glob("step_*"))


def test_events_are_written_and_hold_the_losses(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train(QUICK, SMALL, make_dataset(), tmp_path, seed=0, event_dir=tmp_path / "events")
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    scalars = events.Scalars("validation/loss")
    assert [event.step for event in scalars] == [20, 30, 40, 60]
    assert scalars[-1].value == pytest.approx(result.checkpoints[-1].validation_loss)
    assert events.Scalars("train/loss")[-1].step == 60


def test_held_out_episodes_shape_nothing(tmp_path):
    dataset = make_dataset()
    _, (held_out,) = split_episodes(dataset.num_episodes, 0.1, seed=0)
    first, last = dataset.episode_offsets[held_out : held_out + 2]
    changed = {"left": dataset.features["left"].copy()}
    changed["left"][first:last] += 100
    other = dataclasses.replace(dataset, features=changed)
    ours = train(QUICK, SMALL, dataset, tmp_path / "a", seed=0)
    theirs = train(QUICK, SMALL, other, tmp_path / "b", seed=0)
    assert_same(weights(ours), weights(theirs))
    assert ours.checkpoints[-1].validation_loss != theirs.checkpoints[-1].validation_loss


def test_without_validation_all_episodes_are_used(tmp_path):
    config = dataclasses.replace(QUICK, validation_fraction=0.0)
    result = train(config, SMALL, make_dataset(), tmp_path, seed=0)
    assert result.checkpoints[-1].validation_loss is None


def test_checkpoints_are_spaced_evenly_and_end_with_training():
    config = BehaviorCloningConfig(steps=20_000, checkpoints=20)
    assert config.checkpoint_steps() == list(range(1_000, 20_001, 1_000))
    late = dataclasses.replace(config, first_checkpoint=0.5)
    assert late.checkpoint_steps() == list(range(11_000, 20_001, 1_000))


def test_weight_decay_shrinks_matrices(tmp_path):
    strong = dataclasses.replace(QUICK, weight_decay=50.0, steps=300)
    plain = dataclasses.replace(QUICK, steps=300)
    norms = [
        float(
            weights(train(c, SMALL, make_dataset(), tmp_path / n, seed=0))["head.0.weight"].norm()
        )
        for c, n in ((strong, "strong"), (plain, "plain"))
    ]
    assert norms[0] < 0.1 * norms[1]


def test_threads_are_given_back(tmp_path):
    before = torch.get_num_threads()
    other = 1 if before > 1 else 2
    config = dataclasses.replace(QUICK, threads=other, steps=4)
    train(config, SMALL, make_dataset(), tmp_path, seed=0)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps >= 1"),
        ({"batch_size": 1}, "batch_size >= 2"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"learning_rate": float("nan")}, "learning_rate > 0"),
        ({"weight_decay": -1.0}, "weight_decay >= 0"),
        ({"weight_decay": float("inf")}, "weight_decay >= 0"),
        ({"validation_fraction": 1.0}, "validation_fraction in"),
        ({"checkpoints": 11, "steps": 10}, "at most one checkpoint"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        BehaviorCloningConfig(**changes)


def test_an_unknown_schedule_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'cosine'"):
        from_mapping(BehaviorCloningConfig, {"schedule": "cosin"})


def test_a_pooling_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    dataset = dataclasses.replace(make_dataset(), grids={"left": None})
    grid = mlp(pooling=PoolingConfig("grid"))
    with pytest.raises(PoolingError, match="grid"):
        train(QUICK, grid, dataset, tmp_path / "run", seed=0)
    assert not (tmp_path / "run").exists()


GOLDEN = {20: (0.97022, 1.39960), 40: (0.90877, 1.40996), 60: (0.87604, 1.41129)}
"""Training and validation loss at each step of the run below, as version 0.1.0 gave them."""


def test_the_loss_follows_the_golden_curve(tmp_path):
    config = dataclasses.replace(QUICK, batch_size=16, learning_rate=3e-3, checkpoints=3)
    choice = mlp(hidden=[16], history=2, action_chunk=2)
    result = train(config, choice, make_dataset(channels=20), tmp_path, seed=0)
    found = {c.step: (c.train_loss, c.validation_loss) for c in result.checkpoints}
    assert found.keys() == GOLDEN.keys()
    for step, expected in GOLDEN.items():
        assert found[step] == pytest.approx(expected, rel=1e-3), step
