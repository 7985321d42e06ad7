"""A stem that goes on learning on the frames of demonstrations, without labels.

The objective is that of CroBo (arXiv 2603.13904): one token of the whole frame, made of the stem's
features, must rebuild a crop of which almost nothing is seen. It needs neither actions nor texts,
and asks for everything that can be seen. To predict the action from two frames, the other objective
that came into question, would ask for the arm alone, which is what moves; a policy must know where
the handle is before anything has touched it. An anchor (:mod:`pretrain.losses.anchor`) holds the
stem to what ImageNet taught it.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.core.training.guard import check_finite
from egodtm_robot.core.training.parameter_groups import parameter_groups, set_learning_rate
from egodtm_robot.core.training.schedule import is_due, rate_share
from egodtm_robot.core.training.states import (
    TrainingStates,
    fill_optimizer,
    optimizer_tensors,
    part_of,
)
from pretrain.clips.augmentation import AugmentationConfig, crop_frames, jitter, random_crop
from pretrain.losses.heads import ModelWithHeads
from pretrain.losses.objective import ObjectiveConfig, freeze_unused
from pretrain.model import EgoDTM

CODE_VERSION = 1
"""Raised with every change of code that changes weights."""

_WEIGHTS = "weights.safetensors"
_SAVE_EVERY = 25
_WEIGHT_DECAY = 0.05
_WARMUP = 0.05
_CLIP_NORM = 1.0


@dataclass
class AdaptationConfig:
    """How long and for what a stem goes on learning."""

    steps: int = 150
    """Optimization steps."""

    batch_size: int = 64
    """Frames a step."""

    learning_rate: float = 3e-4
    """AdamW's, at the end of the warm-up."""

    crop: float = 1.0
    """Weight of rebuilding a crop from one token."""

    anchor: float = 1.0
    """Weight of the anchor to ImageNet's stem; above 0 it needs the package of its weights. Without
    it the features lose place (docs/results/pretraining.md)."""

    seed: int = 0
    """Decides frames, crops and the initial weights of the heads."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigurationError: a number is out of range.
        """
        if self.steps < 1 or self.batch_size < 1 or self.seed < 0 or not self.learning_rate > 0:
            raise ConfigurationError(
                "Expected steps and batch_size of at least 1, a seed of at least 0 and a "
                f"learning_rate above 0, got {self.steps}, {self.batch_size}, {self.seed} and "
                f"{self.learning_rate}."
            )
        if min(self.crop, self.anchor) < 0 or not self.crop:
            raise ConfigurationError(
                "Expected crop above 0, without which nothing new is learned, and anchor of at "
                f"least 0, got {self.crop} and {self.anchor}."
            )


def adapted_stem(
    model: EgoDTM,
    frames: Callable[[], np.ndarray],
    config: AdaptationConfig,
    folder: Path,
    device: torch.device,
    progress: Callable[[int, str], None] | None = None,
) -> dict[str, torch.Tensor]:
    """The weights of a stem's network after the adaptation, from ``folder`` if they are there.

    What was interrupted goes on from the last state and ends with the same weights.

    Args:
        model: with a stem; changed.
        frames: gives the frames to learn from, uint8 (N, H, W, 3).
        config: how.
        folder: of this adaptation alone; made if missing.
        device: where to compute.
        progress: called with the steps that are done and a note.

    Raises:
        TrainingDivergedError: the loss is no longer finite.
        WeightsError: the anchor's weights are not installed.
    """
    done = folder / _WEIGHTS
    if not done.is_file():
        weights = _train(model, frames(), config, folder, device, progress)
        write_atomically(done, safetensors.torch.save(weights))
        shutil.rmtree(folder / "resume", ignore_errors=True)
    return safetensors.torch.load(done.read_bytes())


def _train(
    model: EgoDTM,
    frames: np.ndarray,
    config: AdaptationConfig,
    folder: Path,
    device: torch.device,
    progress: Callable[[int, str], None] | None,
) -> dict[str, torch.Tensor]:
    stem = model.visual.stem
    assert stem is not None
    objective = ObjectiveConfig(
        name="adaptation", text=0, depth=0, crop=config.crop, anchor=config.anchor
    )
    freeze_unused(model, objective)
    stem.train_network(True)
    heads = ModelWithHeads(model, objective, config.seed, None).to(device).train()
    learning = {name: p for name, p in heads.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        parameter_groups(learning.items(), _WEIGHT_DECAY), lr=config.learning_rate
    )
    identity = {"adaptation": asdict(config), "frames": list(frames.shape)}
    states = TrainingStates(folder / "resume", identity)
    step = _resume(states, learning, optimizer)
    side = model.config.vision.image_size
    while step < config.steps:
        rate = config.learning_rate * rate_share(step, config.steps, warmup=_WARMUP)
        set_learning_rate(optimizer, rate)
        heads.begin_step(step, 0)
        batch = _batch(frames, config, step, side).to(device)
        losses = heads(batch, None, depth=False, regions=False).further
        loss = torch.stack([objective.weights[name] * one for name, one in losses.items()]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(learning.values()), _CLIP_NORM)
        optimizer.step()
        step += 1
        value = loss.item()
        check_finite(
            {"loss": value},
            step,
            step,
            advice=f"Lower encoder.learning_rate (it is {config.learning_rate})",
            states=states.folder,
        )
        if is_due(step, config.steps, _SAVE_EVERY):
            tensors: dict[str, torch.Tensor] = {f"model.{n}": p for n, p in learning.items()}
            tensors |= {f"optimizer.{n}": t for n, t in optimizer_tensors(optimizer).items()}
            states.save_tensors(step, tensors, {})
        if progress is not None:
            progress(step, f"loss {value:.3f}")
    return {name: t.detach().cpu().contiguous() for name, t in stem.network.state_dict().items()}


@torch.no_grad()
def _resume(
    states: TrainingStates,
    learning: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Take up the newest state; the steps that it has seen."""
    found = states.restore_tensors()
    if found is None:
        return 0
    record, tensors = found
    stored = part_of(tensors, "model")
    for name, parameter in learning.items():
        parameter.copy_(stored[name])
    fill_optimizer(optimizer, part_of(tensors, "optimizer"))
    return int(record["step"])


def _batch(frames: np.ndarray, config: AdaptationConfig, step: int, side: int) -> torch.Tensor:
    """The frames of a step, cropped and colored at random: uint8 (B, 1, side, side, 3)."""
    random = np.random.default_rng([config.seed, 3, step])
    augmentation = AugmentationConfig()
    chosen = random.choice(len(frames), config.batch_size, replace=len(frames) < config.batch_size)
    made = []
    for index in chosen:
        frame = frames[index : index + 1]
        crop = random_crop(frame.shape[1], frame.shape[2], augmentation, random)
        made.append(crop_frames(jitter(frame, augmentation, random), crop, side))
    return torch.stack(made)
