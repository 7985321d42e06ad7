"""What a loader decides: which frames and which part of them a model sees, and in which words.

The same weights score differently under another loader, so it is a setting of its own. The files of
``configs/loader`` hold what published pipelines do; docs/results/video_text.md shows what each does
to a score.
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from egodtm_robot.core.configuration import Bounds, PositiveInt, Seed
from egodtm_robot.core.errors import ConfigurationError

FrameChoice = Literal["segment_middles", "lavila", "egovlp", "random", "windows", "center"]
CropChoice = Literal["center", "squash", "three", "five"]
Resampling = Literal["antialiased", "bilinear", "bicubic"]
TextField = Literal["task", "narration", "caption"]
Tags = Literal["keep", "drop", "name"]
SimilarityScale = Literal["cosine", "dual_softmax"]

_VIDEO = (
    "frames", "choice", "stride", "windows", "seed", "crop", "crop_share", "side", "resampling",
)  # fmt: skip
"""Fields that decide what is seen; the others decide what is read and compared."""


@dataclass
class LoaderConfig:
    """How clips and texts are shown to a model, and how their similarity is taken."""

    name: str = "default"
    """What results call the loader."""

    frames: PositiveInt | None = None
    """Frames of a view; null for as many as the model takes, or all that are stored."""

    choice: FrameChoice = "segment_middles"
    """Which of the stored frames. One of each of equal segments: ``segment_middles`` (the same as
    AVION's), ``lavila`` and ``egovlp`` take its middle, each rounded as in its code, ``random``
    draws it, as published trainings do. Neighbors: ``windows`` take every ``stride``-th frame from
    a start, ``center`` those around the middle."""

    stride: PositiveInt = 1
    """Stored frames from one to the next of ``windows`` and ``center``."""

    windows: PositiveInt = 1
    """Views in time of ``choice=windows``, spread evenly; the first begins with the clip."""

    seed: Seed = 0
    """Of ``choice=random``; a clip's frames depend on this and on its key alone."""

    crop: CropChoice = "center"
    """``center`` takes the square in the middle; ``squash`` the whole picture, made square;
    ``three`` squares along the long side; ``five`` those of the corners and of the middle."""

    crop_share: Annotated[float, Bounds(0.05, 1.0)] = 1.0
    """Side of the square as a share of the picture's short side: 0.875 for 224 of 256 pixels."""

    side: PositiveInt | None = None
    """Pixels that a crop is resized to before it is resized to the model's; null resizes once."""

    resampling: Resampling = "antialiased"
    """``antialiased`` and ``bilinear`` are linear; ``bilinear``, as PyTorch resizes tensors unless
    told otherwise, passes over pixels of large pictures. ``bicubic`` is antialiased."""

    text: TextField = "task"
    """What is read to the model of a clip: its ``narration``, its ``caption``, or what the task
    asks for. Questions and classes of published files stay as they are."""

    template: str = "{}"
    """What each text becomes, with ``{}`` in its place."""

    lower_case: bool = False
    """Whether texts are made lower case."""

    tags: Tags = "keep"
    """Ego4D's tags of persons: ``keep`` leaves ``#C C`` and ``#O`` as published pipelines do,
    ``drop`` removes them, ``name`` writes "the person" and "another person"."""

    similarity: SimilarityScale = "cosine"
    """Of retrieval: ``cosine``, or EgoVLP's ``dual_softmax`` of it, which lowers clips and texts
    that are near to everything. It looks at all queries at once."""

    temperature: Annotated[float, Bounds(1e-6, 1e6)] = 500.0
    """What similarities are divided by for the softmax over clips of ``dual_softmax``."""

    def __post_init__(self) -> None:
        """Refuse what the types let through.

        Raises:
            ConfigurationError: a template without place for the text, or windows of segments.
        """
        if "{}" not in self.template:
            raise ConfigurationError(
                f"Expected loader.template with {{}} in the text's place, got {self.template!r}."
            )
        if self.windows > 1 and self.choice != "windows":
            raise ConfigurationError(
                f"Expected loader.windows=1 with loader.choice={self.choice}, got {self.windows}. "
                "Take loader.choice=windows."
            )
        if self.stride > 1 and self.choice not in ("windows", "center"):
            raise ConfigurationError(
                f"Expected loader.stride=1 with loader.choice={self.choice}, got {self.stride}. "
                "Take loader.choice=windows or center."
            )

    @property
    def settings(self) -> dict[str, Any]:
        """All but the name, as plain JSON: two loaders of equal settings are the same."""
        values = dataclasses.asdict(self)
        del values["name"]
        return values

    @property
    def video_settings(self) -> dict[str, Any]:
        """The part that decides what is seen: embeddings of clips depend on no other."""
        return {name: value for name, value in self.settings.items() if name in _VIDEO}
