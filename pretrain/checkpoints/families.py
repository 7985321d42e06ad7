"""What published weights do not show: the settings of the family that they belong to.

A file of weights tells sizes by its shapes. Whether a text token sees those behind it, which
activation was trained and how colors were normalized it does not tell; loaded without these, a
model runs and is wrong. The names of the tensors tell the family, and the family's training code
tells the rest:

- EgoDTM (https://github.com/xuboshen/EgoDTM, commit eb58cbd): text sees both ways, GELU. Its data
  code is not public. It continued AVION's training, so that AVION's colors are the likely ones.
- AVION (https://github.com/zhaoyue-zephyrus/AVION, commit 31b00b6): causal text, GELU, a red mean
  of 108.33 of 255 where CLIP has 122.77.
- CLIP (https://github.com/openai/CLIP): causal text, QuickGELU, epsilon 1e-5.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional

from egodtm_robot.core.errors import CheckpointError, CheckpointMismatchError
from egodtm_robot.core.published_models import image_models
from egodtm_robot.core.published_models.files import read_tensors
from egodtm_robot.core.published_models.matching import layer_count, report_mismatches, shapes
from pretrain.checkpoints.published import our_names, refuse_other_models
from pretrain.model import DepthDecoderConfig, EgoDTM, EgoDTMConfig, TextConfig, VisionConfig
from pretrain.model.configuration import Activation

Part = Literal["text encoder", "projection", "depth decoder", "time"]
FamilyName = Literal["egodtm", "avion", "clip"]

_HEAD_CHANNELS, _DECODER_HEAD_CHANNELS = 64, 32
"""Of every published size."""

_OWN_CHOICE = ("image_size", "frames", "token_width", "mask_padding")
"""Settings of a model that published weights fit all the same."""

_WITHOUT_SHAPE = ("heads", "activation", "norm_eps", "mean", "std", "causal")
"""Settings that no tensor's shape shows: weights load all the same, and compute something else."""

AVION_MEAN = (0.42481294, 0.4578275, 0.40821073)
"""By color, of pixels in [0, 1]: (108.3272985, 116.7460125, 104.09373615) of 255."""

AVION_STD = (0.26862954, 0.26130258, 0.27577711)
"""By color, of pixels in [0, 1]: (68.5005327, 66.6321579, 70.32316305) of 255."""

_PREFIXES: dict[Part, str] = {
    "text encoder": "textual.",
    "projection": "image_projection",
    "depth decoder": "depth_decoder.",
    "time": "visual.temporal_embedding",
}


@dataclass(frozen=True)
class Family:
    """Settings that all checkpoints of a family share.

    Attributes:
        name: of the family.
        causal: whether a text token sees only those before it.
        activation: of both encoders.
        vision_eps: of the video encoder's norms.
        source: where files come from, and their license.
        mean: by color, of pixels in [0, 1]; None for CLIP's.
        std: by color, of pixels in [0, 1]; None for CLIP's.
    """

    name: str
    causal: bool
    activation: Activation
    vision_eps: float
    source: str
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


EGODTM = Family(
    "EgoDTM",
    False,
    "gelu",
    1e-6,
    "https://github.com/xuboshen/EgoDTM, which links none yet",
    AVION_MEAN,
    AVION_STD,
)
AVION = Family(
    "AVION",
    True,
    "gelu",
    1e-6,
    "the model zoo of https://github.com/zhaoyue-zephyrus/AVION (MIT)",
    AVION_MEAN,
    AVION_STD,
)
CLIP = Family("CLIP", True, "quick_gelu", 1e-5, "https://github.com/openai/CLIP (MIT)")
FAMILIES: dict[FamilyName, Family] = {"egodtm": EGODTM, "avion": AVION, "clip": CLIP}


@dataclass(frozen=True)
class PublishedWeights:
    """What a published file holds.

    Attributes:
        origin: the file.
        family: whose settings it has.
        config: of the model that it fits.
        tensors: by our names, in float32.
        lacking: parts of the model that the file does not have.
    """

    origin: Path
    family: Family
    config: EgoDTMConfig
    tensors: dict[str, torch.Tensor]
    lacking: frozenset[Part]

    def describe(self) -> str:
        """What was recognized and set, in one line."""
        vision, text = self.config.vision, self.config.text
        colors = "CLIP's colors" if self.family.mean is None else "AVION's colors"
        reading = "causal" if text.causal else "bidirectional"
        parts = [
            f"{self.origin}: {self.family.name}, {vision.layers} blocks of {vision.width} on "
            f"patches of {vision.patch_size}, {vision.frames} x {vision.image_size} px",
            f"set by its family: {reading} text, {vision.activation}, epsilon "
            f"{vision.norm_eps:g}, {colors}",
        ]
        if "depth decoder" not in self.lacking and not (
            self.config.depth_decoder.positions_in_values
        ):
            parts.append("decoder of the plain-attention build")
        if self.lacking:
            parts.append(f"without {', '.join(sorted(self.lacking))}")
        return "; ".join(parts)

    def with_frames(self, frames: int) -> "PublishedWeights":
        """The same for another number of frames, as the loader of AVION and EgoDTM makes it.

        Args:
            frames: at least 1. Fewer than stored have the first times; more are interpolated.
        """
        vision = replace(self.config.vision, frames=frames)
        time = self.tensors.get(_PREFIXES["time"])
        tensors = self.tensors
        if time is not None and frames < len(time):
            tensors = {**tensors, _PREFIXES["time"]: time[:frames].clone()}
        elif time is not None and frames > len(time):
            longer = functional.interpolate(
                time.T[None], frames, mode="linear", align_corners=False
            )
            tensors = {**tensors, _PREFIXES["time"]: longer[0].T.contiguous()}
        return replace(self, config=replace(self.config, vision=vision), tensors=tensors)

    def build(self) -> EgoDTM:
        """The model, in evaluation mode. Parts that the file lacks have no values (meta device).

        Raises:
            CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape.
        """
        model = EgoDTM(self.config, seed=None)
        tensors = dict(self.tensors)
        if "time" in self.lacking:
            # Weights of pictures know no time.
            vision = self.config.vision
            tensors[_PREFIXES["time"]] = torch.zeros(vision.frames, vision.width)
        absent = ("logit_scale", *(_PREFIXES[part] for part in self.lacking - {"time"}))
        expected = {
            name: shape
            for name, shape in shapes(model.state_dict()).items()
            if not name.startswith(absent)
        }
        report_mismatches(expected, shapes(tensors), str(self.origin))
        model.load_state_dict(tensors, strict=False, assign=True)
        return model.eval()


def read_published(path: str | Path) -> PublishedWeights:
    """Read a published file and recognize what it is.

    Args:
        path: a safetensors file, or a torch file as a training script wrote it, of which nothing
            is executed. A file of the video encoder alone will do.

    Raises:
        WeightsError: the file cannot be read.
        CheckpointError: its names are those of no family.
        CheckpointMismatchError: it is of another architecture, or another published model.
    """
    path = Path(path)
    tensors = read_tensors(path)
    published = as_published(tensors, path)
    if published is None:
        kind = image_models.recognize(name.removeprefix("module.") for name in tensors)
        # Our own names without a card look like CLIP's.
        if kind is not None and kind != "CLIP":
            held, advice = image_models.KINDS[kind]
            raise CheckpointMismatchError(
                f"Expected {path} to hold weights of EgoDTM, AVION or OpenAI's CLIP, got {held}. "
                f"Use {advice}."
            )
        raise CheckpointError(
            f"Expected {path} to hold weights by the names of EgoDTM, AVION or OpenAI's CLIP, got "
            f"names such as {', '.join(list(tensors)[:3])}. A checkpoint that pretrain.run or "
            f"pretrain.export wrote comes with a card: copy {path.with_suffix('.json').name} "
            "beside it."
        )
    return published


def as_published(tensors: Mapping[str, torch.Tensor], path: Path) -> PublishedWeights | None:
    """What tensors by published names are; None for names of no family.

    Raises:
        CheckpointMismatchError: they are of another architecture.
    """
    family = recognize(tensors, path)
    if family is None:
        return None
    plain = any(re.search(r"decoder\..*\.self_attn\.in_proj_weight$", name) for name in tensors)
    found = our_names(tensors)
    lacking = frozenset(
        part
        for part, prefix in _PREFIXES.items()
        if not any(name.startswith(prefix) for name in found)
    )
    try:
        config = _config(family, found, lacking, path, plain)
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointMismatchError(
            f"Expected {path} to hold a ViT of {family.name}; a tensor that tells its size is "
            f"missing or of another shape ({type(error).__name__}: {error})."
        ) from error
    return PublishedWeights(path, family, config, found, lacking)


def recognize(tensors: Mapping[str, torch.Tensor], path: Path) -> Family | None:
    """The family that names of tensors belong to; None for names of no family, such as ours.

    Raises:
        CheckpointMismatchError: they are those of another architecture.
    """
    refuse_other_models(tensors, str(path))
    names = {name.removeprefix("module.") for name in tensors}

    def some(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in names)

    if some("backbone.visual."):
        return EGODTM
    if not some("visual.transformer.resblocks."):
        return None
    if some("visual.proj", "transformer.resblocks.", "token_embedding."):
        return CLIP
    # Ours has the projection of the class token at the top, AVION's within the encoder.
    if some("visual.image_projection", "fc_cls.") or (
        some("visual.temporal_embedding") and not some("image_projection", "depth_decoder.")
    ):
        return AVION
    return None


def _config(
    family: Family,
    tensors: Mapping[str, torch.Tensor],
    lacking: frozenset[Part],
    path: Path,
    plain: bool,
) -> EgoDTMConfig:
    """Sizes as the shapes tell them, settings as the family does."""
    width, pixels = tensors["visual.conv1.weight"].shape
    patch = math.isqrt(pixels // 3)
    side = math.isqrt(len(tensors["visual.positional_embedding"]) - 1)
    vision = VisionConfig(
        image_size=side * patch,
        patch_size=patch,
        frames=1 if "time" in lacking else len(tensors["visual.temporal_embedding"]),
        width=width,
        layers=layer_count(tensors, r"visual\.transformer\.resblocks\.(\d+)\."),
        heads=max(1, width // _HEAD_CHANNELS),
        feed_forward=len(tensors["visual.transformer.resblocks.0.mlp.fc1.weight"]),
        activation=family.activation,
        norm_eps=family.vision_eps,
    )
    if family.mean is not None and family.std is not None:
        vision = replace(vision, mean=list(family.mean), std=list(family.std))
    text = TextConfig(activation=family.activation, causal=family.causal)
    if "text encoder" not in lacking:
        vocabulary, width = tensors["textual.token_embedding.weight"].shape
        text = replace(
            text,
            vocabulary=vocabulary,
            context=len(tensors["textual.positional_embedding"]),
            width=width,
            layers=layer_count(tensors, r"textual\.transformer\.resblocks\.(\d+)\."),
            heads=max(1, width // _HEAD_CHANNELS),
            feed_forward=len(tensors["textual.transformer.resblocks.0.mlp.fc1.weight"]),
        )
    depth_decoder = DepthDecoderConfig()
    if "depth decoder" not in lacking:
        width = len(tensors["depth_decoder.input_proj.weight"])
        layer = "depth_decoder.decoder.transformer_ffn_layers"
        fine = any(name.startswith("depth_decoder.fpn.simfp_2.") for name in tensors)
        depth_decoder = DepthDecoderConfig(
            width=width,
            mask_width=len(tensors["depth_decoder.mask_features.weight"]),
            layers=layer_count(tensors, rf"{re.escape(layer)}\.(\d+)\."),
            heads=max(1, width // _DECODER_HEAD_CHANNELS),
            feed_forward=len(tensors[f"{layer}.0.mlp.fc1.weight"]),
            queries=len(tensors["depth_decoder.decoder.query_feat.weight"]),
            upsampling=4 if fine else 2,
            positions_in_values=not plain,
        )
    joint = tensors.get("image_projection", tensors.get("textual.text_projection"))
    return EgoDTMConfig(
        name=f"{family.name.lower()}:{path.name}",
        joint_width=EgoDTMConfig.joint_width if joint is None else joint.shape[1],
        vision=vision,
        text=text,
        depth_decoder=depth_decoder,
    )


def differing_settings(
    config: EgoDTMConfig, published: PublishedWeights, of: Literal["fit", "function"]
) -> list[str]:
    """What would have to be set for a model to be that of a published file.

    Args:
        config: of the model.
        published: the file.
        of: ``fit`` for what weights need to be loaded at all, ``function`` for what they need
            beside that to compute what they were trained to.

    Returns:
        Settings such as ``model.text.causal=true``. Sizes that are resampled, and the joint space,
        are left out: a training may have its own.
    """
    parts = ["vision"]
    parts += [] if "text encoder" in published.lacking else ["text"]
    parts += [] if "depth decoder" in published.lacking else ["depth_decoder"]
    found = []
    for part in parts:
        ours, theirs = asdict(getattr(config, part)), asdict(getattr(published.config, part))
        for name, value in theirs.items():
            asked = (name in _WITHOUT_SHAPE) == (of == "function")
            if asked and name not in _OWN_CHOICE and ours[name] != value:
                found.append(f"model.{part}.{name}={json.dumps(value)}")
    return found
