"""Any vision model that transformers can load, by hub id or local folder.

Preprocessing follows the model's own processor file and runs in torch, so that neither torchvision
nor PIL is needed and a batch is prepared on the device that encodes it.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

import torch
from transformers import AutoModel, PretrainedConfig, PreTrainedModel

from egodtm_robot.core.configuration import PictureSide, PositiveInt
from egodtm_robot.core.errors import EncoderOptionError, UnknownNameError
from egodtm_robot.core.images import pair, pool_to_grid
from egodtm_robot.core.published_models.hub import load_config, load_model, load_processor_config
from egodtm_robot.core.published_models.preprocessing import Preprocessing, processor_size
from egodtm_robot.encoders.base import DEFAULT_BATCH_SIZE, ImageEncoder, Output

_OUTPUTS = get_args(Output)
# They take other inputs than one tensor of images, or of windows of images.
_UNSUPPORTED = ("vivit", "timesformer", "vjepa2")
# Pixels between two of their tokens, which their configurations do not say.
_STRIDES = {"dinov3_convnext": 32}
# CLIP and its kin: the hidden states lack the final norm, which the class token alone goes through.
_NORM_BEHIND_POOLER = (
    "altclip_vision_model",
    "chinese_clip_vision_model",
    "clip_vision_model",
    "clipseg_vision_model",
    "metaclip_2_vision_model",
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
        layer: None for the model's last hidden states, which have been through its final norm in
            all models but CLIP's; otherwise the index into the hidden states (0 is the embedding,
            negative numbers count from the end).
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
        batch_size: int | None = DEFAULT_BATCH_SIZE,
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
        if output == "class" and model.config.model_type in _NORM_BEHIND_POOLER:
            self.code_version = 2  # the first one read the class token before its norm
        self._model = model.eval()
        self._preprocessing = preprocessing
        self._output = output
        self._layer = layer
        self._video = video
        self._pooled_grid = None if grid is None else pair(grid)
        side = processor_size(getattr(model.config, "image_size", 224))
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
        patch = processor_size(_STRIDES.get(config.model_type) or getattr(config, "patch_size", 1))
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
            normed = config.model_type not in _NORM_BEHIND_POOLER
            return _class_token(outputs, own_grid, self._video, normed), None
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
        batch_size: windows a forward pass; None takes 1 for large models on a CPU, else 8.
        trust_remote_code: whether code that the model brings along (``auto_map`` in its
            configuration) may be run. Read it first.

    Raises:
        WeightsError: the model, or its processor file, is not to be had or not readable, or needs
            code of its own that is not trusted.
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
        resolution: PictureSide | None = None,
        batch_size: PositiveInt | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        config = load_config(model, revision, trust_remote_code)
        processor = load_processor_config(model, revision)
        if config.model_type.startswith("siglip2"):
            raise EncoderOptionError(
                "Expected a SigLIP 2 of fixed size, such as google/siglip2-base-patch16-224, got "
                f"{model}, a NaFlex model, which takes lists of patches in place of images."
            )
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
        network = _load(model, revision, config, trust_remote_code)
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

    @classmethod
    def check_sources(cls, options: Mapping[str, Any]) -> None:
        """See :meth:`egodtm_robot.encoders.base.Encoder.check_sources`."""
        model, revision = str(options["model"]), options.get("revision")
        load_config(model, revision, bool(options.get("trust_remote_code")))
        load_processor_config(model, revision)


def _load(
    path: str, revision: str | None, config: PretrainedConfig, trust_remote_code: bool
) -> PreTrainedModel:
    """The vision model, every tensor of it from the checkpoint."""
    config = getattr(config, "vision_config", config)
    model: PreTrainedModel
    if trust_remote_code and "AutoModel" in getattr(config, "auto_map", {}):
        model = load_model(
            AutoModel, path, revision, belongs=_belongs, config=config, trust_remote_code=True
        )
        return model
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
    model = load_model(model_class, path, revision, belongs=_belongs, config=config, **extra)
    return model


def _belongs(name: str, model: PreTrainedModel) -> bool:
    """Whether a left-over tensor is of one of the tower's own modules: of another architecture.

    Tensors of other parts (text tower, decoder, classifier) may be left over.
    """
    own_parts = {own.split(".")[0] for own in model.state_dict()}
    return (
        name.removeprefix(model.base_model_prefix + ".").split(".")[0] in own_parts
        and not name.endswith("position_ids")
        and ".pooler." not in f".{name}"
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


def _class_token(
    outputs: Any, own_grid: tuple[int, int], video: bool, normed: bool
) -> torch.Tensor:
    """The global feature as one token (b, 1, D).

    Args:
        outputs: of the model.
        own_grid: rows and columns of its patches.
        video: whether tokens are tubelets.
        normed: whether the last hidden states have been through the final norm.
    """
    hidden = outputs.last_hidden_state
    if normed and hidden.ndim == 3 and not video and hidden.shape[1] > own_grid[0] * own_grid[1]:
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


def _pair_size(config: PretrainedConfig) -> tuple[int, int]:
    size = processor_size(getattr(config, "image_size", 224))
    return size[0], size[-1]
