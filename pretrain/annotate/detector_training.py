"""The training loop of detectors: one device, resumable to the same weights after a kill.

All randomness follows from the seed and the step: which pictures, how they are cropped, and the
noise that RT-DETR and D-FINE denoise in training (transformers draws it from torch's global
generator, which is forked and seeded for each step).
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader

from egodtm_robot.core.configuration import Workers
from egodtm_robot.core.errors import (
    ConfigurationError,
    TrainingDivergedError,
)
from egodtm_robot.core.images import to_channels_first
from egodtm_robot.core.training.identity import NOT_DECISIVE
from egodtm_robot.core.training.states import TrainingStates
from pretrain.annotate.detector_examples import PictureBatch, PictureDataset
from pretrain.annotate.detector_model import save_detector
from pretrain.annotate.trained_detector import corners
from pretrain.clips.dataset import Draw, StreamSampler
from pretrain.evaluate.detection import Found, average_precision

BEST, LAST = "best", "last"
"""Folders of the detectors that a run keeps."""

Precision = Literal["float32", "bf16"]
PRECISIONS: dict[Precision, torch.dtype | None] = {"float32": None, "bf16": torch.bfloat16}


@dataclass
class DetectorTrainingConfig:
    """The ``training`` part of the configuration."""

    batch_size: int = 32
    """Pictures a step."""

    learning_rate: float = 1e-3
    """AdamW's, at the end of the warm-up. 2e-4 for published detectors and those of the DETR kind.
    """

    backbone_share: float = 0.0
    """The backbone's rate as a share of it. 0 keeps ImageNet's features as they are and saves half
    of the time; 0.1 for published detectors, 1 for random ones."""

    warmup: float = 0.05
    """Share of the steps in which the rate rises from zero; then it falls by a cosine to zero."""

    weight_decay: float = 1e-4
    """Decoupled, on weight matrices alone."""

    clip_norm: float = 0.1
    """Gradients of a larger norm are scaled down to it."""

    precision: Precision = "float32"
    """``float32``, or ``bf16`` for the products inside the model."""

    validate_every: int = 500
    """Steps between two looks at the validation pictures."""

    save_every: int = field(default=250, metadata=NOT_DECISIVE)
    """Steps between two states to resume from."""

    log_every: int = field(default=10, metadata=NOT_DECISIVE)
    """Steps that one entry of the curves is the mean of."""

    workers: Workers = field(default=1, metadata=NOT_DECISIVE)
    """Processes that read and prepare pictures; 0 does it in between steps."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a number is out of range.
        """
        for name in ("batch_size", "validate_every", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} >= 1, got {getattr(self, name)}.")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0 or not math.isfinite(getattr(self, name)):
                raise ConfigurationError(f"Expected {name} > 0, got {getattr(self, name)}.")
        if not 0 <= self.backbone_share < math.inf:
            raise ConfigurationError(f"Expected backbone_share >= 0, got {self.backbone_share}.")
        if not 0 <= self.warmup < 1 or not self.weight_decay >= 0:
            raise ConfigurationError(
                "Expected warmup in [0, 1) and weight_decay >= 0, got "
                f"{self.warmup} and {self.weight_decay}."
            )


class DetectorTrainer:
    """One run: what is trained, on what, and how far it is.

    Writes detectors into ``out_dir/best`` and ``out_dir/last``, and into ``out_dir/resume`` states
    to go on from. Made again with the same arguments it goes on from the last state and ends with
    the same weights.

    Args:
        config: how to train.
        detector: with its initial weights.
        dataset: training pictures.
        validation: pictures to choose the best weights by.
        out_dir: folder of detectors.
        steps: optimisation steps.
        seed: of everything random.
        device: where to train.
        card: JSON-able facts for the detectors' cards; a run is resumed on the same ones alone.
        progress: called at every entry of the curves with (step, note).
    """

    def __init__(
        self,
        config: DetectorTrainingConfig,
        detector: Any,
        dataset: PictureDataset,
        validation: PictureDataset,
        out_dir: Path,
        *,
        steps: int,
        seed: int,
        device: torch.device,
        card: Mapping[str, Any],
        progress: Callable[[int, str], None] | None = None,
    ) -> None:
        self.config = config
        self.detector = detector.to(device)
        self.dataset = dataset
        self.validation = validation
        self.out_dir = out_dir
        self.steps = steps
        self.seed = seed
        self.device = device
        self.card = json.loads(json.dumps(dict(card)))
        self.progress = progress
        if config.backbone_share == 0:
            for name, parameter in detector.named_parameters():
                if _of_backbone(name):
                    parameter.requires_grad_(False)
        self.optimizer = _optimizer(detector, config)
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.best: tuple[int, float] = (-1, -math.inf)

    def run(self) -> list[dict[str, Any]]:
        """Train to the end.

        Returns:
            Entries of the curves: ``step`` with means of losses, or with scores of validation.

        Raises:
            ResumeMismatchError: ``out_dir`` belongs to a run with other settings or data.
            TrainingDivergedError: the loss is no longer finite.
        """
        config = self.config
        self._resume()
        sums: dict[str, float] = {}
        counted = 0
        self.detector.train()
        for batch in self._batches():
            losses = self._step(batch)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            counted += 1
            last = self.step == self.steps
            validate = self.step % config.validate_every == 0 or last
            save = self.step % config.save_every == 0 or last
            if self.step % config.log_every == 0 or validate or save:
                entry = {name: value / counted for name, value in sums.items()}
                self.history.append({"step": self.step, **entry})
                if self.progress is not None:
                    score = f"  best AP50 {self.best[1]:.3f}" if self.best[0] >= 0 else ""
                    self.progress(self.step, f"loss {entry['loss']:.3f}{score}")
                sums, counted = {}, 0
            if validate:
                self._validate_and_keep()
            if save:
                self._save()
        return self.history

    def scores(self) -> dict[str, float]:
        """AP50 of each label on the validation pictures, and their mean."""
        self.detector.eval()
        labels = self.validation.examples.labels
        found: dict[str, list[Found]] = {name: [] for name in labels}
        size = self.config.batch_size
        for start in range(0, len(self.validation), size):
            stop = min(start + size, len(self.validation))
            samples = [self.validation[Draw(index)] for index in range(start, stop)]
            batch = self.validation.collate(samples)
            with torch.inference_mode():
                outputs = self.detector(pixel_values=self._pixels(batch))
            scores = outputs.logits.float().sigmoid().cpu().numpy()
            xyxy = corners(outputs.pred_boxes.float().cpu().numpy())
            for row, (_, boxes) in enumerate(samples):
                for column, name in enumerate(labels):
                    own = np.array([category == name for category in boxes.category], bool)
                    found[name].append(Found(xyxy[row], scores[row, :, column], boxes.xyxy[own]))
        self.detector.train()
        by_label = {name: average_precision(images) for name, images in found.items()}
        known = [value for value in by_label.values() if not math.isnan(value)]
        return {**by_label, "mean": float(np.mean(known)) if known else 0.0}

    # -- a step --------------------------------------------------------------------------------

    def _batches(self) -> DataLoader:
        sampler = StreamSampler(
            len(self.dataset), self.seed, self.config.batch_size, self.step, self.steps
        )
        workers = self.config.workers
        return DataLoader(
            self.dataset,
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=self.dataset.collate,
            multiprocessing_context="spawn" if workers else None,
        )

    def _step(self, batch: PictureBatch) -> dict[str, float]:
        config = self.config
        share = _rate_share(config.warmup, self.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["full_rate"] * share
        targets = [
            {"boxes": boxes.to(self.device), "class_labels": labels.to(self.device)}
            for boxes, labels in zip(batch.boxes, batch.labels, strict=True)
        ]
        half = PRECISIONS[config.precision]
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(_seed_of_step(self.seed, self.step))
            with torch.autocast(self.device.type, half, enabled=half is not None):
                outputs = self.detector(pixel_values=self._pixels(batch), labels=targets)
        self.optimizer.zero_grad(set_to_none=True)
        outputs.loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.detector.parameters(), config.clip_norm)
        loss = float(outputs.loss.detach())
        if not math.isfinite(loss):
            raise TrainingDivergedError(
                f"Expected a finite loss, got {loss} in step {self.step}. Lower "
                f"training.learning_rate (it is {config.learning_rate}); the last state saved is "
                f"in {self.out_dir / 'resume'}."
            )
        self.optimizer.step()
        self.step += 1
        return {"loss": loss, "gradient_norm": float(norm)}

    def _pixels(self, batch: PictureBatch) -> torch.Tensor:
        return to_channels_first(batch.pictures.to(self.device)) / 255

    # -- detectors and states ------------------------------------------------------------------

    def _validate_and_keep(self) -> None:
        scores = self.scores()
        self.history.append({"step": self.step, "validation": _finite(scores)})
        better = scores["mean"] > self.best[1] or self.best[0] < 0
        if better:
            self.best = (self.step, scores["mean"])
        card = {**self.card, "step": self.step, "validation_ap50": _finite(scores)}
        for name in (LAST, BEST) if better else (LAST,):
            save_detector(self.out_dir / name, self.detector, self.dataset.resolution, card)

    def _save(self) -> None:
        record = {"best": list(self.best), "history": self.history}
        self._states.save(self.step, self.detector, self.optimizer, record)

    def _resume(self) -> None:
        record = self._states.restore(self.detector, self.optimizer)
        if record is not None:
            self.step = record["step"]
            self.best = (record["best"][0], record["best"][1])
            self.history = record["history"]

    @property
    def _states(self) -> TrainingStates:
        return TrainingStates(self.out_dir / "resume", self.card)


def _optimizer(detector: Any, config: DetectorTrainingConfig) -> torch.optim.AdamW:
    """AdamW in four groups: backbone or not, matrices with decay or vectors without."""
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            key = (_of_backbone(name), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": config.weight_decay if is_matrix else 0.0,
                "full_rate": config.learning_rate * (config.backbone_share if backbone else 1.0),
            }
            for (backbone, is_matrix), parameters in sorted(groups.items(), key=lambda g: g[0])
        ],
        lr=config.learning_rate,
    )


def _of_backbone(parameter: str) -> bool:
    return "backbone" in parameter


def _rate_share(warmup: float, step: int, steps: int) -> float:
    """The rate of the step after ``step`` of ``steps`` steps, as a share of the full one."""
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _seed_of_step(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def _finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    """The same with None for numbers that JSON has no notation for."""
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}
