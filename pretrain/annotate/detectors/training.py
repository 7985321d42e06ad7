"""The training loop of detectors: one device, resumable to the same weights after a kill.

All randomness follows from the seed and the step: which pictures, how they are cropped, and the
noise that RT-DETR and D-FINE denoise in training (transformers draws it from torch's global
generator, which is forked and seeded for each step).
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from egodtm_robot.core.images import to_channels_first
from egodtm_robot.core.run_folder import json_values
from egodtm_robot.core.training.checkpoints import BestCheckpoint
from egodtm_robot.core.training.curve import StepMeans
from egodtm_robot.core.training.guard import check_finite
from egodtm_robot.core.training.parameter_groups import parameter_groups, set_learning_rate
from egodtm_robot.core.training.precision import half_precision
from egodtm_robot.core.training.schedule import is_due, rate_share
from egodtm_robot.core.training.states import TrainingStates
from pretrain.annotate.detectors.examples import PictureBatch, PictureDataset
from pretrain.annotate.detectors.model import save_detector
from pretrain.annotate.detectors.trained import corners
from pretrain.annotate.detectors.training_config import DetectorTrainingConfig
from pretrain.clips.dataset import Draw
from pretrain.clips.stream import StreamSampler
from pretrain.evaluate.detection import Found, average_precision

BEST, LAST = "best", "last"
"""Folders of the detectors that a run keeps."""


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
        steps: optimization steps.
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
        # Configuration.
        self.config = config
        self.steps = steps
        self.seed = seed
        self.out_dir = out_dir
        self.card = json.loads(json.dumps(dict(card)))

        # Parts.
        self.device = device
        self.detector = detector.to(device)
        self.dataset = dataset
        self.validation = validation
        self.progress = progress
        if config.backbone_share == 0:
            for name, parameter in detector.named_parameters():
                if _of_backbone(name):
                    parameter.requires_grad_(False)
        self.optimizer = _make_optimizer(detector, config)
        self.states = TrainingStates(out_dir / "resume", self.card)

        # State of the run.
        self.step = 0
        self.best = BestCheckpoint()
        self.history: list[dict[str, Any]] = []

    def run(self) -> list[dict[str, Any]]:
        """Train to the end.

        Returns:
            Entries of the curves: ``step`` with means of losses, or with scores of validation.

        Raises:
            ResumeMismatchError: ``out_dir`` belongs to a run with other settings or data.
            TrainingDivergedError: the loss or the gradient is no longer finite.
        """
        config = self.config
        self._resume()
        means = StepMeans()
        self.detector.train()
        for batch in self._batches():
            share = rate_share(self.step, self.steps, warmup=config.warmup)
            set_learning_rate(self.optimizer, config.learning_rate * share)
            means.add(self._optimize(batch))
            self.step += 1

            # Everything below happens at steps that a resumed run meets as well.
            validate = is_due(self.step, self.steps, config.validate_every)
            save = is_due(self.step, self.steps, config.save_every)
            if validate or save or is_due(self.step, self.steps, config.log_every):
                self._log(means.take())
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

    def _optimize(self, batch: PictureBatch) -> dict[str, float]:
        """Take one step, unless the loss is not finite; returns loss and norm of the gradient."""
        config = self.config
        targets = [
            {"boxes": boxes.to(self.device), "class_labels": labels.to(self.device)}
            for boxes, labels in zip(batch.boxes, batch.labels, strict=True)
        ]
        half = half_precision(config.precision)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(_seed_of_step(self.seed, self.step))
            with torch.autocast(self.device.type, half, enabled=half is not None):
                outputs = self.detector(pixel_values=self._pixels(batch), labels=targets)
        self.optimizer.zero_grad(set_to_none=True)
        outputs.loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.detector.parameters(), config.clip_norm)
        values = {"loss": float(outputs.loss.detach()), "gradient_norm": float(norm)}
        check_finite(
            values,
            self.step + 1,
            self.step + 1,
            advice=f"Lower training.learning_rate (it is {config.learning_rate})",
            states=self.states.folder,
        )
        self.optimizer.step()
        return values

    def _pixels(self, batch: PictureBatch) -> torch.Tensor:
        return to_channels_first(batch.pictures.to(self.device)) / 255

    # -- curves, detectors and states ----------------------------------------------------------

    def _log(self, values: Mapping[str, float]) -> None:
        self.history.append({"step": self.step, **values})
        if self.progress is not None:
            score = f"  best AP50 {self.best.score:.3f}" if self.best.step >= 0 else ""
            self.progress(self.step, f"loss {values['loss']:.3f}{score}")

    def _validate_and_keep(self) -> None:
        scores = self.scores()
        self.history.append({"step": self.step, "validation": json_values(scores)})
        card = {**self.card, "step": self.step, "validation_ap50": json_values(scores)}
        for name in self.best.enter(self.step, scores["mean"]):
            folder = self.out_dir / (BEST if name == "best" else LAST)
            save_detector(folder, self.detector, self.dataset.resolution, card)

    def _save(self) -> None:
        record = {"best": self.best.to_json(), "history": self.history}
        self.states.save(self.step, self.detector, self.optimizer, record)

    def _resume(self) -> None:
        record = self.states.restore(self.detector, self.optimizer)
        if record is not None:
            self.step = record["step"]
            self.best = BestCheckpoint.from_json(record["best"])
            self.history = record["history"]


def _make_optimizer(detector: Any, config: DetectorTrainingConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices; the backbone learns at its share of the rate."""
    parts: dict[bool, list[tuple[str, torch.nn.Parameter]]] = {False: [], True: []}
    for name, parameter in detector.named_parameters():
        parts[_of_backbone(name)].append((name, parameter))
    groups = [
        group
        for backbone, part in parts.items()
        # Vectors first: in this order, states of detectors have always numbered the parameters.
        for group in reversed(
            parameter_groups(
                part,
                config.weight_decay,
                rate_share=config.backbone_share if backbone else 1.0,
            )
        )
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _of_backbone(parameter: str) -> bool:
    return "backbone" in parameter


def _seed_of_step(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
