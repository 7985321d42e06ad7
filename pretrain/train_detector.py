"""Trains a detector of hands and objects: ``python -m pretrain.train_detector stores=[clips]``.

On the boxes of clip stores, or on VISOR's polygons and the frames of EPIC-KITCHENS. The defaults
are for half an hour of a CPU core on frames of 128 px; docs/reference/annotators.md has those
for published weights. Started again with the same settings it goes on where it was stopped. What
it writes into ``run_dir/checkpoints/best`` is a folder for
``hands_objects=trained hands_objects.model=...``.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from egodtm_robot.core.configuration import OutputFolder, PositiveInt, Seed, command, compose
from egodtm_robot.core.default_folder import default_folder
from egodtm_robot.core.devices import pick_device
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.run_folder import (
    StageClock,
    claim_run_dir,
    is_finished,
    package_versions,
    read_results,
    write_results,
)
from egodtm_robot.core.training.identity import NOT_DECISIVE
from egodtm_robot.core.training.precision import say_if_emulated
from pretrain.annotate.detectors.examples import (
    Examples,
    Objects,
    PictureDataset,
    StoreExamples,
    VisorExamples,
)
from pretrain.annotate.detectors.model import (
    BackboneKind,
    Kind,
    Size,
    new_detector,
    published_detector,
)
from pretrain.annotate.detectors.training import BEST, LAST, DetectorTrainer
from pretrain.annotate.detectors.training_config import DetectorTrainingConfig
from pretrain.clips.augmentation import AugmentationConfig

_VERSIONED = ("torch", "transformers", "numpy", "scipy")


@dataclass
class VisorConfig:
    """VISOR's annotations as training data, in place of clip stores."""

    annotations: str | None = None
    """A json file of VISOR, or a folder of them; null for none."""

    pictures: str | None = None
    """Folder of the frames of EPIC-KITCHENS that it annotates."""


@dataclass
class TrainDetectorConfig:
    """What to train, and on what."""

    stores: list[str] = field(default_factory=list)
    """Clip stores with boxes."""

    visor: VisorConfig = field(default_factory=VisorConfig)
    """Or VISOR's annotations."""

    validation: list[str] = field(default_factory=list)
    """Clip stores to choose the best weights by; empty for the first training pictures, which says
    nothing of others."""

    validation_pictures: PositiveInt = 512
    """At most so many of them, evenly spread."""

    pictures: PositiveInt | None = None
    """Only so many training pictures, evenly spread; null for all."""

    objects: Objects = "nouns"
    """``touched``: one label for what hands touch; ``named``: the data's categories; ``nouns``: the
    last words of these ("mug" for every "red mug"); ``none``."""

    init: str | None = None
    """Hub id (PekingU/rtdetr_r18vd, ustc-community/dfine-small-obj365) or folder of the weights to
    begin with; null for random ones."""

    revision: str | None = None
    """Branch, tag or commit of ``init`` on the hub."""

    kind: Kind = "ttfnet"
    """Without ``init``: ``ttfnet``, which learns in half an hour of a CPU core, or ``rt_detr`` or
    ``d_fine``, which want published weights or a GPU."""

    size: Size = "tiny"
    """Without ``init``: how large the detector is; ``small`` is about the least published."""

    backbone: BackboneKind = "efficientnet_lite0"
    """Without ``init``: ``efficientnet_lite0`` with ImageNet's weights, which need no download, or
    ``random``."""

    resolution: int = 128
    """Side of the pictures, a multiple of 32."""

    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """How training pictures are cropped and colored; half of them are mirrored besides."""

    training: DetectorTrainingConfig = field(default_factory=DetectorTrainingConfig)
    """How to train."""

    steps: PositiveInt = 2500
    """Optimization steps."""

    seed: Seed = 0
    """Decides new weights, and the order and augmentation of pictures."""

    device: str = field(default="auto", metadata=NOT_DECISIVE)
    """``auto`` takes a GPU if there is one, or as torch names it."""

    run_dir: OutputFolder | None = field(default=None, metadata=NOT_DECISIVE)
    """Folder of the run; null names it by whatever differs from the defaults and the seed, below
    ``runs/``."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a number is out of range, or there is no data or more than one kind.
        """
        with_visor = self.visor.annotations is not None
        if bool(self.stores) == with_visor or with_visor != (self.visor.pictures is not None):
            raise ConfigurationError(
                "Expected either stores=[STORE,...] or both visor.annotations=... and "
                f"visor.pictures=..., got stores={self.stores}, visor.annotations="
                f"{self.visor.annotations}, visor.pictures={self.visor.pictures}."
            )
        if self.resolution < 32 or self.resolution % 32:
            raise ConfigurationError(
                f"Expected a resolution that is a multiple of 32, got {self.resolution}."
            )

    @property
    def folder(self) -> Path:
        """The run's folder, by default ``runs/detector-<settings>/seed<seed>``.

        The settings are those that differ from the defaults, at least the data; see
        :mod:`egodtm_robot.core.default_folder`. The folder of earlier versions was
        ``runs/detector``.
        """
        if self.run_dir is not None:
            return Path(self.run_dir)
        usual = compose(TrainDetectorConfig, "train_detector", ["stores=[none]"])
        usual.seed = self.seed
        base = Path("runs", "detector")
        return default_folder(base, self, usual, leaf=f"seed{self.seed}", earlier=[base])


class _Part:
    """Some pictures of examples, evenly spread."""

    def __init__(self, examples: Examples, count: int | None) -> None:
        total = len(examples)
        count = total if count is None else min(count, total)
        self._chosen = [place * total // count for place in range(count)]
        self._examples = examples
        self.labels = examples.labels
        self.fingerprint = f"{examples.fingerprint}:{count}"

    def __len__(self) -> int:
        return len(self._chosen)

    def read(self, index: int) -> Any:
        """See :class:`~pretrain.annotate.detectors.examples.Examples`."""
        return self._examples.read(self._chosen[index])


def train_detector(config: TrainDetectorConfig) -> tuple[dict[str, Any], Path]:
    """Run the training, or what is left of it.

    Returns:
        The content of ``results.json``, and the run's folder.

    Raises:
        ResumeMismatchError: the run's folder holds a run with other settings or data.
        EgoDTMRobotError: see the parts.
    """
    run_dir = config.folder
    finished = read_results(run_dir)
    if finished is not None and is_finished(run_dir, config):
        return finished, run_dir
    device = pick_device(config.device)
    examples = _examples(config)
    labels = examples.labels
    train = _Part(examples, config.pictures)
    validation: Examples = train
    if config.validation:
        validation = StoreExamples(config.validation, config.objects, labels)
    validation = _Part(validation, config.validation_pictures)
    if config.init is None:
        detector = new_detector(config.kind, config.size, labels, config.seed, config.backbone)
    else:
        detector = published_detector(config.init, config.revision, labels, config.seed)
    cells = sum((config.resolution // stride) ** 2 for stride in detector.config.feat_strides)
    if cells < detector.config.num_queries:
        raise ConfigurationError(
            f"Expected a resolution at which the detector sees at least as many places as the "
            f"{detector.config.num_queries} boxes that it gives, got {config.resolution} with "
            f"{cells}."
        )
    # Everything that can be known is checked before anything is written.
    say_if_emulated(config.training.precision, device)
    claim_run_dir(run_dir, config)
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    size = config.training.batch_size
    progress = Progress("train", config.steps * size, start=None)
    trainer = DetectorTrainer(
        config.training,
        detector,
        PictureDataset(train, config.resolution, config.augmentation, config.seed),
        PictureDataset(validation, config.resolution, config.augmentation, config.seed),
        run_dir / "checkpoints",
        steps=config.steps,
        seed=config.seed,
        device=device,
        card={
            "labels": labels,
            "data": train.fingerprint,
            "init": config.init,
            "steps": config.steps,
            "seed": config.seed,
            "resolution": config.resolution,
            "augmentation": dataclasses.asdict(config.augmentation),
            "learning_rate": config.training.learning_rate,
            "batch_size": size,
            "versions": package_versions(_VERSIONED),
        },
        progress=lambda step, note: progress(step * size, f"step {step}  {note}"),
    )
    with StageClock(run_dir)("train"):
        history = trainer.run()
    results = {
        "schema_version": 1,
        "labels": list(labels),
        "pictures": len(train),
        "validation_pictures": len(validation),
        "validated_on_training_pictures": not config.validation,
        "parameters": parameters,
        "best_step": trainer.best.step,
        "best_ap50": trainer.best.score,
        "checkpoints": {"best": f"checkpoints/{BEST}", "last": f"checkpoints/{LAST}"},
        "curves": history,
    }
    write_results(run_dir, results)
    return results, run_dir


def _examples(config: TrainDetectorConfig) -> Examples:
    if config.stores:
        return StoreExamples(config.stores, config.objects)
    return VisorExamples(
        str(config.visor.annotations),
        str(config.visor.pictures),
        config.objects,
    )


@command(TrainDetectorConfig, "train_detector")
def main(config: TrainDetectorConfig) -> None:
    """Trains and says how well it finds what it was shown."""
    results, run_dir = train_detector(config)
    print(
        f"{run_dir}: best AP50 {results['best_ap50']:.3f} at step {results['best_step']} on "
        f"{results['validation_pictures']} pictures"
        + (" of the training set" if results["validated_on_training_pictures"] else "")
    )


if __name__ == "__main__":
    main()
