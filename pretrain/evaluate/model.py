"""What an evaluation needs of a model of video and text, whoever made it.

EgoDTM, CLIP, LaViLa, EgoVLP and a model of your own are measured by the same code through
:class:`VideoTextModel`. A model that can do more than compare videos with texts says so by having
the methods of :class:`PatchModel`, :class:`DepthModel` or :class:`BoxModel`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import torch

from egodtm_robot.core.configuration.instantiation import check_options, choose
from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError

GROUP = "video_text_model"
"""Folder of ``configs/`` that names models by their import paths."""

_NEEDED = ("name", "fingerprint", "frames", "resolution", "encode_video", "to")


class ModelAnswerError(EgoDTMRobotError, ValueError):
    """A model answered in another form than the contract says."""


class VideoTextModel(Protocol):
    """A frozen model that puts videos and texts into one space of J dimensions.

    One that has seen no texts may lack ``encode_text``; tasks with texts then leave it out.

    The four properties may as well be plain attributes.
    """

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with all that decides its embeddings: weights, options, preprocessing, code.

        Embeddings and measurements are kept under it.
        """
        ...

    @property
    def frames(self) -> int | None:
        """Most frames of a clip that it takes; longer clips are sampled evenly. None for any."""
        ...

    @property
    def resolution(self) -> int:
        """Side of the square frames that it takes, pixels."""
        ...

    def encode_video(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 RGB (B, T, H, W, 3) on the CPU -> float32 (B, J), of length 1, on any device."""
        ...

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """B texts -> float32 (B, J), of length 1, on any device."""
        ...

    def to(self, device: torch.device) -> Any:
        """Move the model to a device, in place."""
        ...


class PatchModel(Protocol):
    """A model that also shows the tokens of its frozen backbone, for probes."""

    def patch_tokens(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 RGB (B, T, H, W, 3) -> float32 (B, T, h, w, D), from the top left."""
        ...


class DepthModel(Protocol):
    """A model that also estimates depth."""

    def depth(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 RGB (B, T, H, W, 3) -> float32 (B, T, h, w), of any scale, near is small."""
        ...


class BoxModel(Protocol):
    """A model that also finds hands and objects."""

    def boxes(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 RGB (B, T, H, W, 3) -> float32 (B, T, R, 4).

        Left, top, right and bottom as shares of the frame; of R roles the first two are the left
        and the right hand, the others objects in any order.
        """
        ...


def make_video_text_model(config: str | Mapping[str, Any]) -> VideoTextModel:
    """Build a model from its configuration.

    Args:
        config: a name that has a file in ``configs/video_text_model``, an import path of a class
            or function (it has a dot), or a mapping with ``_target_`` and options. The file of
            ``egodtm`` takes its checkpoint from the command; in code, name the checkpoint in a
            mapping, or call :func:`pretrain.evaluate.egodtm.load_egodtm`.

    Raises:
        UnknownNameError: there is no such file, or no such option.
        ConfigurationError: the import path leads nowhere or to something that is no such model.
    """
    choice = choose(GROUP, config)
    check_options(GROUP, choice.target, choice.options)
    model = choice.target(**choice.options)
    missing = [name for name in _NEEDED if not hasattr(model, name)]
    if missing:
        raise ConfigurationError(
            f"Expected {GROUP}._target_ to give a model with {', '.join(_NEEDED)}; {choice.path} "
            f"lacks {', '.join(missing)}. See pretrain/evaluate/model.py."
        )
    return cast(VideoTextModel, model)
