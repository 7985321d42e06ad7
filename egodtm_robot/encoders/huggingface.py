"""Any vision model that transformers can load, by hub id or local folder.

Preprocessing follows the model's own processor file and runs in torch, so that neither torchvision
nor PIL is needed and a batch is prepared on the device that encodes it.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.image_processing_base import ImageProcessingMixin

from egodtm_robot.core.errors import (
    CheckpointMismatchError,
    EncoderOptionError,
    EncoderWeightsError,
    UnknownNameError,
)
from egodtm_robot.core.images import (
    Interpolation,
    center_crop,
    pair,
    pool_to_grid,
    resize,
    to_channels_first,
)
from egodtm_robot.core.pretrained import (
    LOADING_ERRORS,
    first_line,
    from_pretrained,
    mismatched_tensors,
)
from egodtm_robot.encoders.base import DEFAULT_BATCH_SIZE, ImageEncoder

Output = Literal["grid", "class"]

_OUTPUTS = ("grid", "class")
# PIL's numbers. Torch has no Lanczos filter; bicubic is the nearest it has.
_INTERPOLATIONS: dict[int, Interpolation] = {
    0: "nearest",
    1: "bicubic",
    2: "bilinear",
    3: "bicubic",
}
# They take other inputs than one tensor of images, or of windows of images.
_UNSUPPORTED = ("siglip2", "vivit", "timesformer", "vjepa2")


@dataclass(frozen=True)
class Preprocessing:
    """What a processor file asks for.

    Attributes:
        size: (height, width) to resize to; a single number is the length of the shorter side.
        crop: (height, width) of the central cut after it, None for none.
        interpolation: of the resize.
        rescale: factor from [0, 255] to the range that mean and std are meant for.
        mean, std: by colour.
    """

    size: tuple[int, ...] | None
    crop: tuple[int, int] | None
    interpolation: Interpolation
    rescale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (N, H, W, 3) -> normalised float32 (N, 3, h, w)."""
        pixels = to_channels_first(images)
        if self.size is not None:
            height, width = pixels.shape[-2:]
            if len(self.size) == 1:
                factor = self.size[0] / min(height, width)
                # The shorter side exactly, the longer one cut to a whole number, as in PIL code.
                size = (
                    (self.size[0], int(width * factor))
                    if height <= width
                    else (int(height * factor), self.size[0])
                )
            else:
                size = (self.size[0], self.size[1])
            pixels = resize(pixels, size, self.interpolation)
        if self.crop is not None:
            pixels = center_crop(pixels, self.crop)
        mean = torch.tensor(self.mean, device=pixels.device)[:, None, None]
        std = torch.tensor(self.std, device=pixels.device)[:, None, None]
        return (pixels * self.rescale - mean) / std

    @classmethod
    def from_processor(
        cls, processor: Mapping[str, Any], image_size: tuple[int, int], resolution: int | None
    ) -> "Preprocessing":
        """Read the content of ``preprocessor_config.json``.

        Args:
            processor: the file's content.
            image_size: of the model, where the file names no size.
            resolution: if given, the whole image is resized to a square of this side instead of
                what the file says about size and crop.
        """
        size: tuple[int, ...] | None
        crop = None
        if resolution is not None:
            size = (resolution, resolution)
        else:
            size = _size(processor.get("size", image_size))
            if not processor.get("do_resize", True):
                size = None
            if processor.get("do_center_crop", False):
                found = _size(processor.get("crop_size", image_size))
                crop = (found[0], found[-1])
        normalize = processor.get("do_normalize", True)
        rescale = processor.get("do_rescale", True)
        return cls(
            size=size,
            crop=crop,
            interpolation=_INTERPOLATIONS.get(processor.get("resample", 2), "bilinear"),
            rescale=float(processor.get("rescale_factor", 1 / 255)) if rescale else 1.0,
            mean=tuple(processor.get("image_mean") or (0.5,) * 3) if normalize else (0.0,) * 3,
            std=tuple(processor.get("image_std") or (0.5,) * 3) if normalize else (1.0,) * 3,
        )


class TransformersEncoder(ImageEncoder):
    """Tokens of a transformers vision model that is already in memory.

    Args:
        model: takes ``pixel_values`` (b, 3, h, w), or (b, T, 3, h, w) if it is a VideoMAE.
        preprocessing: from camera images to those pixels.
        output: ``grid`` for the patches' tokens, ``class`` for the one global token (the class
            token; the pooled output of models without one).
        grid: rows and columns (one number for both) to which the patches are averaged, None for
            the model's own grid. Of no effect on ``class``.
        layer: None for the last one with its final norm, otherwise the index into the model's
            hidden states (0 is the embedding, negative numbers count from the end).
        options: what else belongs to the fingerprint.
        batch_size: windows a forward pass.
    """

    kind = "transformers"

    def __init__(
        self,
        model: PreTrainedModel,
        preprocessing: Preprocessing,
        output: Output = "grid",
        grid: int | Sequence[int] | None = None,
        layer: int | None = None,
        options: Mapping[str, Any] | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        if output not in _OUTPUTS:
            raise UnknownNameError("output of the encoder", output, _OUTPUTS)
        if output == "class" and layer is not None:
            raise EncoderOptionError(
                "Expected layer=null with output=class: the class token is read after the final "
                f"norm; got layer={layer}."
            )
        video = model.config.model_type == "videomae"
        history = int(model.config.num_frames) if video else 1
        self._model = model.eval()
        self._preprocessing = preprocessing
        self._output = output
        self._layer = layer
        self._video = video
        self._pooled_grid = None if grid is None else pair(grid)
        side = _size(getattr(model.config, "image_size", 224))
        sample = torch.zeros((1, history, side[0], side[-1], 3), dtype=torch.uint8)
        with torch.inference_mode():
            tokens, own_grid = self._tokens(sample)
        super().__init__(
            network=model,
            dimension=int(tokens.shape[2]),
            grid=own_grid,
            history=history,
            batch_size=batch_size,
            options={
                **(options or {}),
                "model": type(model).__name__,
                "preprocessing": asdict(preprocessing),
                "output": output,
                "layer": layer,
            },
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Uint8 (b, T, H, W, 3) -> (b, L, D)."""
        return self._tokens(images)[0]

    def _tokens(self, images: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int] | None]:
        """Tokens (b, L, D) and their grid."""
        pixels = self._preprocessing(images.flatten(0, 1))
        height, width = int(pixels.shape[-2]), int(pixels.shape[-1])
        inputs: dict[str, Any] = {
            "pixel_values": pixels.unflatten(0, images.shape[:2]) if self._video else pixels
        }
        config = self._model.config
        patch = _size(getattr(config, "patch_size", 1))
        own_grid = (height // patch[0], width // patch[-1])
        if (height, width) != _pair_size(config) and "interpolate_pos_encoding" in (
            inspect.signature(self._model.forward).parameters
        ):
            inputs["interpolate_pos_encoding"] = True
        if config.model_type == "vit_mae":
            # The model shuffles its patches by random noise even when it masks none of them.
            inputs["noise"] = torch.arange(own_grid[0] * own_grid[1], device=pixels.device)
            inputs["noise"] = inputs["noise"].expand(len(pixels), -1)
        outputs = self._model(**inputs, output_hidden_states=self._layer is not None)
        hidden = outputs.last_hidden_state
        if self._layer is not None:
            hidden = _hidden_state(outputs.hidden_states, self._layer)
        if self._output == "class":
            return _class_token(outputs, own_grid, self._video), None
        return _grid_tokens(hidden, own_grid, self._video, self._pooled_grid)


class HuggingFaceEncoder(TransformersEncoder):
    """A pretrained vision model by hub id or local path (CLIP, SigLIP, DINOv2, ViT-MAE, VideoMAE).

    Of models of vision and language the vision tower is loaded alone. VideoMAE reads windows of
    its own length: ``history`` is then the model's number of frames.

    Args:
        model: hub id such as ``openai/clip-vit-base-patch32``, or a folder as ``save_pretrained``
            writes it, with ``preprocessor_config.json``.
        revision: branch, tag or commit on the hub.
        output: see :class:`TransformersEncoder`.
        grid: see :class:`TransformersEncoder`.
        layer: see :class:`TransformersEncoder`.
        resolution: if given, the whole image is resized to this side, without the processor's
            crop, and position embeddings are interpolated.
        batch_size: windows a forward pass.

    Raises:
        EncoderWeightsError: the model, or its processor file, is not to be had or not readable.
        CheckpointMismatchError: tensors of the vision tower are missing, unexpected or of another
            shape.
        EncoderOptionError: the model is of a kind that takes other inputs.
    """

    kind = "huggingface"

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        output: Output = "grid",
        grid: int | Sequence[int] | None = None,
        layer: int | None = None,
        resolution: int | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        try:
            config = AutoConfig.from_pretrained(model, revision=revision)
            processor, _ = ImageProcessingMixin.get_image_processor_dict(model, revision=revision)
        except (OSError, ValueError, KeyError) as error:
            raise _not_loadable(model, error) from error
        if config.model_type in _UNSUPPORTED:
            raise EncoderOptionError(
                f"Expected a model of single images or a VideoMAE, got {model} of type "
                f"{config.model_type}, which takes other inputs. Wrap it in an encoder of your own "
                "(encoder._target_=...)."
            )
        if config.model_type == "videomae" and resolution is not None:
            raise EncoderOptionError(
                "Expected resolution=null for a VideoMAE, whose positions are fixed to the size it "
                f"was trained at, got {resolution}."
            )
        network = _load(model, revision, config)
        super().__init__(
            model=network,
            preprocessing=Preprocessing.from_processor(
                processor, _pair_size(network.config), resolution
            ),
            output=output,
            grid=grid,
            layer=layer,
            batch_size=batch_size,
        )
        self.name = "huggingface"


def _load(path: str, revision: str | None, config: PretrainedConfig) -> PreTrainedModel:
    """The vision model, every tensor of it from the checkpoint."""
    config = getattr(config, "vision_config", config)
    try:
        model_class: Any = AutoModel._model_mapping[type(config)]
    except KeyError:
        raise EncoderOptionError(
            f"Expected a model that transformers' AutoModel knows, got {path} with a "
            f"{type(config).__name__}."
        ) from None
    if config.model_type == "vit_mae":
        config.mask_ratio = 0.0
    extra = {}
    if "add_pooling_layer" in inspect.signature(model_class).parameters:
        # A pooler is trained by few of the checkpoints and read by no output of ours.
        extra["add_pooling_layer"] = False
    try:
        model, info = from_pretrained(model_class, path, config=config, revision=revision, **extra)
    except LOADING_ERRORS as error:
        raise _not_loadable(path, error) from error
    _check_loading(path, model, info)
    return model


def _check_loading(path: str, model: PreTrainedModel, info: Mapping[str, Any]) -> None:
    """Raise CheckpointMismatchError unless every tensor of the tower came from the checkpoint.

    Tensors of other parts (text tower, decoder, classifier) may be left over; a left-over tensor
    that belongs into one of the tower's own modules means another architecture.
    """
    own_parts = {name.split(".")[0] for name in model.state_dict()}
    prefix = model.base_model_prefix + "."

    def belongs(name: str) -> bool:
        return (
            name.removeprefix(prefix).split(".")[0] in own_parts
            and not name.endswith("position_ids")
            and ".pooler." not in f".{name}"
        )

    problems = mismatched_tensors(path, model, info, belongs)
    if problems:
        raise CheckpointMismatchError(problems)


def _not_loadable(path: str, error: Exception) -> EncoderWeightsError:
    return EncoderWeightsError(
        "Expected encoder.model to be a vision model's hub id, or a folder with config.json, "
        f"preprocessor_config.json and model.safetensors; could not load {path!r} "
        f"({type(error).__name__}: {first_line(error)}). Without a network, give the "
        "path of a copy."
    )


def _grid_tokens(
    hidden: torch.Tensor,
    own_grid: tuple[int, int],
    video: bool,
    pooled_grid: tuple[int, int] | None,
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Hidden states -> tokens (b, L, D) of the patches in image layout, and their grid."""
    if hidden.ndim == 4:
        feature_map = hidden
    else:
        count = own_grid[0] * own_grid[1]
        tokens = hidden
        if video:
            # Tubelets over time are averaged: the grid of tokens is that of the image.
            tokens = hidden.unflatten(1, (-1, count)).mean(dim=1)
        elif hidden.shape[1] < count:
            # Hierarchical models merge patches; what they return is square for square images.
            side = math.isqrt(hidden.shape[1])
            if side * side != hidden.shape[1]:
                raise EncoderOptionError(
                    f"Expected tokens on a square grid, got {hidden.shape[1]}; use output=class."
                )
            own_grid, count = (side, side), side * side
        # Class and register tokens come before the patches.
        tokens = tokens[:, -count:]
        feature_map = tokens.transpose(1, 2).unflatten(2, own_grid)
    grid = pooled_grid or (int(feature_map.shape[2]), int(feature_map.shape[3]))
    return pool_to_grid(feature_map, grid), grid


def _class_token(outputs: Any, own_grid: tuple[int, int], video: bool) -> torch.Tensor:
    """The global feature as one token (b, 1, D)."""
    hidden = outputs.last_hidden_state
    if hidden.ndim == 3 and not video and hidden.shape[1] > own_grid[0] * own_grid[1]:
        return hidden[:, :1]
    pooled = getattr(outputs, "pooler_output", None)
    if pooled is not None:
        return pooled.flatten(1)[:, None]
    return hidden.flatten(2).mean(dim=2)[:, None] if hidden.ndim == 4 else hidden.mean(1)[:, None]


def _hidden_state(states: Sequence[torch.Tensor], layer: int) -> torch.Tensor:
    if not -len(states) <= layer < len(states):
        raise EncoderOptionError(
            f"Expected layer from {-len(states)} to {len(states) - 1}, got {layer}."
        )
    return states[layer]


def _size(value: Any) -> tuple[int, ...]:
    """A size in any of the forms that configuration files know."""
    if isinstance(value, Mapping):
        if "height" in value:
            return int(value["height"]), int(value["width"])
        return (int(value["shortest_edge"]),)
    if isinstance(value, (list, tuple)):
        return tuple(int(one) for one in value)
    return (int(value), int(value))


def _pair_size(config: PretrainedConfig) -> tuple[int, int]:
    size = _size(getattr(config, "image_size", 224))
    return size[0], size[-1]
