"""The settings of a pretraining."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from egodtm_robot.core.configuration import NonNegativeInt, OutputFolder, Seed, compose
from egodtm_robot.core.configuration.instantiation import group_names
from egodtm_robot.core.default_folder import default_folder
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.training.identity import NOT_DECISIVE
from pretrain.clips.dense import DENSE_KINDS
from pretrain.clips.splits import DataConfig
from pretrain.learning.training_config import TrainingConfig
from pretrain.losses.objective import ObjectiveConfig
from pretrain.model import EgoDTMConfig


@dataclass
class PretrainConfig:
    """The pretraining command's configuration."""

    model: EgoDTMConfig = field(default_factory=EgoDTMConfig)
    """What is trained: ``model=egodtm_tiny`` or ``egodtm_base``."""

    data: DataConfig = field(default_factory=DataConfig)
    """What it is trained on: ``data=synthetic``, or ``data=store`` with ``data.path``."""

    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """What it is trained for: ``objective=text``, ``depth``, ``text_depth``, ``region`` or
    ``entities``."""

    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How it is trained."""

    tasks: list[Any] = field(
        default_factory=lambda: ["retrieval", "multiple_choice", "depth", "regions"]
    )
    """Evaluation tasks that validation and test clips are measured by, as far as the objective
    trains what they ask for: names of ``configs/evaluation_task``, import paths, or mappings with
    ``_target_``."""

    best_by: list[str] = field(default_factory=lambda: ["retrieval", "depth", "regions"])
    """Names of the tasks whose headline numbers, in the mean, decide which checkpoint is best."""

    initial: str | None = None
    """Weights to start from: ``egodtm_tiny`` (the checkpoint that comes with the package), a path
    of one of ours or of a published one, or a hub id or folder of Hugging Face's CLIP; what they
    lack, and everything with null, is drawn by the seed. See pretrain/checkpoints/starting.py."""

    teacher: str | None = None
    """Frozen vision model whose tokens are learned (``objective.distill``): a hub id such as
    ``facebook/dinov2-base``, or a folder of transformers. They are computed once and kept beside
    the clips."""

    steps: NonNegativeInt = 240
    """Optimization steps; 0 saves and measures the initial weights, a baseline."""

    seed: Seed = 0
    """Decides the initial weights, and the order and augmentation of clips."""

    device: str = field(default="auto", metadata=NOT_DECISIVE)
    """``auto`` takes GPUs if there are any, ``cpu`` does not."""

    run_dir: OutputFolder | None = field(default=None, metadata=NOT_DECISIVE)
    """Folder of the run; null names it by model, data, objective, seed and whatever else differs
    from the defaults, below ``runs/``."""

    def __post_init__(self) -> None:
        """Refuse what the types let through; give the model and the clips what the objective needs.

        Raises:
            ConfigurationError: a number is out of range.
        """
        if self.training.stem_rate and self.model.vision.stem == "pixels":
            raise ConfigurationError(
                f"Expected training.stem_rate=0 with model.vision.stem=pixels, which has no "
                f"weights of its own, got {self.training.stem_rate}."
            )
        self.objective.equip(self.model)
        wanted = self.objective.dense_truth
        if wanted and self.data.kind == "synthetic":
            kinds = {*self.data.synthetic.dense, *wanted}
            self.data.synthetic.dense = [kind for kind in DENSE_KINDS if kind in kinds]

    def check_heads(self) -> None:
        """Refuse heads that have nothing to learn from, or nothing that learns.

        Raises:
            ConfigurationError: as said. Not before a run begins: a preset alone has no teacher and
                no rate for the stem.
        """
        if (self.objective.distill > 0) != (self.teacher is not None):
            raise ConfigurationError(
                "Expected a teacher and objective.distill above 0 together, got "
                f"teacher={self.teacher} and objective.distill={self.objective.distill}."
            )
        stem = self.model.vision.stem != "pixels"
        if self.objective.reads_stem and not stem:
            raise ConfigurationError(
                "Expected a model with a stem (model.vision.stem=efficientnet_lite0) for "
                "objective.anchor, objective.looks, objective.crop_decoder.source=stem, "
                "objective.distill_into=stem and objective.dense.attach=stem, got "
                "model.vision.stem=pixels."
            )
        if self.objective.reads_stem and not self.training.stem_rate:
            raise ConfigurationError(
                "Expected training.stem_rate above 0 for objective.anchor and looks, and for a "
                "crop, a teacher or dense truth at the stem, got 0: the stem would not learn. Set "
                "training.stem_rate=0.6, or objective.crop_decoder.source=class, "
                "objective.distill_into=patches or objective.dense.attach=patches."
            )

    @property
    def folder(self) -> Path:
        """The run's folder.

        By default ``runs/pretrain/<model>/<data>/<objective>_seed<seed>``, with what differs from
        the defaults behind ``<data>``, see :mod:`egodtm_robot.core.default_folder`.
        """
        if self.run_dir is not None:
            return Path(self.run_dir)
        named = {"model": self.model.name, "data": self.data.kind, "objective": self.objective.name}
        chosen = [f"{group}={name}" for group, name in named.items() if name in group_names(group)]
        # Data in stores have no default path; any stands for it.
        stores = ["data.path=none"] if self.data.kind == "store" else []
        usual = compose(PretrainConfig, "pretrain", [*chosen, *stores])
        usual.seed = self.seed
        return default_folder(
            Path("runs", "pretrain", self.model.name, self.data.kind),
            self,
            usual,
            leaf=f"{self.objective.name}_seed{self.seed}",
        )
