"""The learning itself: in segments, with an evaluation and a state to resume from after each.

All environments begin anew with each segment. What a segment does then depends on the model, the
global generators and the number of episodes begun, and on nothing inside the simulators: a run that
was killed repeats the segment that it was in, to the same weights, bit for bit.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import BasePolicy

from egodtm_robot.core.storage.atomic_files import sync_folder, write_atomically
from egodtm_robot.core.training.guard import check_finite
from egodtm_robot.core.training.states import TrainingStates
from egodtm_robot.learning.reinforcement.model_state import (
    model_state,
    restore_generators,
    restore_model,
)
from egodtm_robot.learning.reinforcement.vector_environment import FeatureVecEnv

WEIGHTS = "actor_critic.safetensors"
"""The networks of a checkpoint; this is what evaluations read."""

ARCHIVE = "model.zip"
"""The same model as Stable-Baselines3 saves it, for its own ``load``. It holds pickled objects, and
nothing here reads it."""


@dataclass(frozen=True)
class AgentCheckpoint:
    """A model that learning wrote.

    Attributes:
        step: steps of experience that it has learned from.
        path: its folder.
        episodes: that it was tried on.
        successes: among them.
    """

    step: int
    path: Path
    episodes: int
    successes: int


def learn(
    model: BaseAlgorithm,
    environment: FeatureVecEnv,
    states: TrainingStates,
    out_dir: Path,
    *,
    steps: int,
    segment: int,
    evaluate: Callable[[], tuple[int, int]],
    event_dir: Path,
    progress: Callable[[int, str], None],
    callbacks: Sequence[BaseCallback] = (),
) -> list[AgentCheckpoint]:
    """Learn, or go on with what was stopped.

    Args:
        model: made anew from the settings; it takes up the last state, if there is one.
        environment: at the bottom of the model's.
        states: to resume from.
        out_dir: folder of the checkpoints.
        steps: of experience in all; a multiple of what the algorithm takes at once.
        segment: steps between two evaluations, rounded in the same way.
        evaluate: tries the model, gives the number of episodes and that of successes.
        event_dir: folder of Stable-Baselines3's logger.
        progress: called now and then with the steps so far and a note.
        callbacks: of Stable-Baselines3; one that stops learning ends it for good.

    Returns:
        The checkpoints, the first of which is the start, in order of steps.

    Raises:
        ResumeMismatchError: the states belong to a run with other settings.
        TrainingDivergedError: weights are no longer finite.
    """
    model.set_logger(configure(str(event_dir), ["tensorboard"]))
    checkpoints: list[AgentCheckpoint] = []
    ended = False

    def keep(tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> None:
        episodes, successes = evaluate()
        path = out_dir / f"step_{model.num_timesteps:07d}"
        _write_checkpoint(model, path)
        checkpoints.append(AgentCheckpoint(model.num_timesteps, path, episodes, successes))
        listed = [[one.step, one.path.name, one.episodes, one.successes] for one in checkpoints]
        states.save_tensors(
            model.num_timesteps,
            tensors,
            {
                **record,
                "episodes_begun": environment.episodes_begun.tolist(),
                "checkpoints": listed,
                "ended": ended,
            },
        )
        if episodes:
            model.logger.record("evaluation/success_rate", successes / episodes)
            model.logger.dump(model.num_timesteps)
            progress(model.num_timesteps, f"{successes} of {episodes} succeeded")

    found = states.restore_tensors()
    if found is None:
        tensors, record = model_state(model)
        keep(tensors, record)
    else:
        record, tensors = found
        restore_model(model, tensors, record)
        ended = bool(record.get("ended", False))  # absent from states of former versions
        environment.episodes_begun[:] = record["episodes_begun"]
        checkpoints += [
            AgentCheckpoint(step, out_dir / name, episodes, successes)
            for step, name, episodes, successes in record["checkpoints"]
        ]
    while model.num_timesteps < steps and not ended:
        before = model.num_timesteps
        target = min((before // segment + 1) * segment, steps)
        # What came between, such as an evaluation, may have drawn from the global generators.
        restore_generators(model, tensors, record)
        model._last_obs = None  # all environments begin anew
        model.learn(
            target - before,
            callback=[_Report(progress), *callbacks],
            reset_num_timesteps=False,
            log_interval=8,
        )
        ended = model.num_timesteps < target  # a callback said so
        tensors, record = model_state(model)
        check_finite(
            {
                "the sum of all weights": float(
                    sum(one.detach().sum() for one in model.policy.parameters())
                )
            },
            before + 1,
            model.num_timesteps,
            advice="Lower algorithm.learning_rate",
            states=states.folder,
        )
        keep(tensors, record)
    model.logger.close()
    return checkpoints


def load_weights(policy: BasePolicy, checkpoint: Path) -> None:
    """Give the policy of a model the networks of a checkpoint."""
    policy.load_state_dict(safetensors.torch.load_file(checkpoint / WEIGHTS))


def _write_checkpoint(model: BaseAlgorithm, folder: Path) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors = {
        name: tensor.detach().cpu().clone() for name, tensor in model.policy.state_dict().items()
    }
    write_atomically(partial / WEIGHTS, safetensors.torch.save(tensors))
    model.save(partial / ARCHIVE)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    sync_folder(folder.parent)


class _Report(BaseCallback):
    """Tells how far learning is."""

    def __init__(self, progress: Callable[[int, str], None]) -> None:
        super().__init__()
        self._progress = progress

    def _on_step(self) -> bool:
        found = self.model.ep_success_buffer
        note = f"{sum(found) / len(found):.0%} of the last {len(found)} succeeded" if found else ""
        self._progress(self.num_timesteps, note)
        return True
