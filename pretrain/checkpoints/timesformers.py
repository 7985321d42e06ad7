"""Published files of TimeSformers with their text encoders: LaViLa, EgoVLP and EgoVLPv2.

The names of the tensors tell the family, their shapes tell the sizes, and the family's code tells
what weights do not show:

- LaViLa (https://github.com/facebookresearch/LaViLa, commit 262ebc7): QuickGELU and a norm before
  the blocks, as in OpenAI's CLIP that it starts from; causal text; a red mean of 108.33 of 255
  where CLIP has 122.77. Other numbers of frames: the first ones, or linear interpolation.
- EgoVLP (https://github.com/showlab/EgoVLP, commit 35f80b3): GELU, ImageNet's colors, DistilBERT.
  Other numbers of frames: the first ones, or zeros behind them.
- EgoVLPv2 (https://github.com/facebookresearch/EgoVLPv2, commit 5786ace): as EgoVLP with RoBERTa,
  and with norms of epsilon 1e-5, the default of torch that its constructor leaves in place. Its
  layers of cross-attention fuse video and text for other heads and are not part of embeddings.
  Other numbers of frames: the first ones, or linear interpolation between the ends.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn import functional

from egodtm_robot.core.errors import CheckpointError, CheckpointMismatchError
from egodtm_robot.core.published_models.files import read_tensors
from egodtm_robot.core.published_models.hub import load_tokenizer
from egodtm_robot.core.published_models.matching import layer_count, report_mismatches, shapes
from pretrain.checkpoints.families import AVION_MEAN, AVION_STD
from pretrain.checkpoints.published import our_names
from pretrain.model.configuration import Activation, TextConfig
from pretrain.model.dual_encoder import ClipText, DualEncoder, projection
from pretrain.model.language_model import Kind, LanguageModelText
from pretrain.model.timesformer import TimeSformer, TimeSformerConfig

FamilyName = Literal["lavila", "egovlp", "egovlpv2"]
Part = Literal["text encoder", "projection"]

_HEAD_CHANNELS = 64
"""Of every published size."""


@dataclass(frozen=True)
class TimeSformerFamily:
    """Settings that all files of a family share.

    Attributes:
        name: what configurations call it.
        title: what people call it.
        activation: of the video encoder.
        norm_eps: of the video encoder's norms.
        mean: by color, of pixels in [0, 1].
        std: by color, of pixels in [0, 1].
        more_frames: what times beyond the stored ones are: ``interpolated`` linearly, ``aligned``
            for the same with the first and last time in place, or ``zero``.
        context: tokens that a text has at most.
        source: where files come from, and their license.
    """

    name: FamilyName
    title: str
    activation: Activation
    norm_eps: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    more_frames: Literal["interpolated", "aligned", "zero"]
    context: int
    source: str


_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

LAVILA = TimeSformerFamily(
    name="lavila",
    title="LaViLa",
    activation="quick_gelu",
    norm_eps=1e-6,
    mean=AVION_MEAN,
    std=AVION_STD,
    more_frames="interpolated",
    context=77,
    source="the model zoo of https://github.com/facebookresearch/LaViLa (MIT), such as "
    "clip_openai_timesformer_base.narrator_rephraser.ep_0005.md5sum_d73a9c.pth",
)
EGOVLP = TimeSformerFamily(
    name="egovlp",
    title="EgoVLP",
    activation="gelu",
    norm_eps=1e-6,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    more_frames="zero",
    context=512,
    source="https://github.com/showlab/EgoVLP (MIT), EgoVLP_PT_BEST; or, converted, the model zoo "
    "of https://github.com/facebookresearch/LaViLa, egovlp_converted_f16.md5sum_c33363.pth",
)
EGOVLPV2 = TimeSformerFamily(
    name="egovlpv2",
    title="EgoVLPv2",
    activation="gelu",
    norm_eps=1e-5,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    more_frames="aligned",
    context=512,
    source="https://github.com/facebookresearch/EgoVLPv2 (MIT), EgoVLPv2.pth, or "
    "EgoVLPv2_smallproj.pth for EPIC-KITCHENS",
)
FAMILIES: dict[FamilyName, TimeSformerFamily] = {
    family.name: family for family in (LAVILA, EGOVLP, EGOVLPV2)
}

_TOKENIZERS: dict[str | None, str] = {
    "distilbert": "distilbert-base-uncased",
    "roberta": "roberta-base",
}
"""Hub ids of the tokenizers that the text encoders were trained with; CLIP's is our own."""

# Applied in order to every name.
_SPELLINGS = [
    (r"^video_model\.", "visual."),
    (r"^text_model\.", "textual."),
    (r"^vid_proj\.", "video_projection."),
    (r"^image_projection\.", "video_projection."),
    (r"^txt_proj\.", "text_projection."),
    (r"^textual\.(?!text_projection$)", "textual.model."),
]

# Fusion of video and text in EgoVLPv2, with the heads that it serves.
_FUSION = re.compile(
    r"^(cross_modal_\w+|mlm_score|itm_score|norm)\.|^cls_token$"
    r"|\.(qkv_text_i2t|qkv_i2t|proj_i2t|norm_i2t_i|crossattention_t2i)\.|\.alpha_(i2t|t2i)$"
)


@dataclass(frozen=True)
class PublishedTimeSformer:
    """What a published file holds.

    Attributes:
        origin: the file.
        family: whose settings it has.
        config: of the video encoder, as it was stored.
        text: the kind of text encoder; None for a file without one.
        tensors: by the names of :class:`pretrain.model.dual_encoder.DualEncoder`, in float32.
    """

    origin: Path
    family: TimeSformerFamily
    config: TimeSformerConfig
    text: Literal["clip"] | Kind | None
    tensors: Mapping[str, torch.Tensor]

    @property
    def lacking(self) -> frozenset[Part]:
        """Parts that the file does not have."""
        lacking: set[Part] = set()
        if self.text is None:
            lacking.add("text encoder")
        if not _below(self.tensors, "video_projection."):
            lacking.add("projection")
        return frozenset(lacking)

    @property
    def tokenizer(self) -> str | None:
        """Hub id of the tokenizer it was trained with; None where that comes with the package."""
        return _TOKENIZERS.get(self.text)

    def identity(self) -> dict[str, Any]:
        """What decides outputs besides weights."""
        return {"family": self.family.name, "text": self.text, "vision": asdict(self.config)}

    def describe(self) -> str:
        """What was recognized and set, in one line."""
        config = self.config
        size = f"{config.layers} blocks of {config.width} on patches of {config.patch_size}"
        texts = {"clip": "causal text of CLIP", "distilbert": "DistilBERT", "roberta": "RoBERTa"}
        parts = [
            f"{self.origin}: {self.family.title}, {size}, {config.frames} x {config.image_size} px",
            f"set by its family: {config.activation}, epsilon {config.norm_eps:g}, mean color "
            + ", ".join(f"{255 * value:.1f}" for value in config.mean),
        ]
        if self.text is not None:
            parts.append(texts[self.text])
        if self.lacking:
            parts.append(f"without {' and '.join(sorted(self.lacking))}")
        return "; ".join(parts)

    def with_frames(self, frames: int) -> "PublishedTimeSformer":
        """The same for another number of frames, by the rule of the family's own loader.

        Args:
            frames: at least 1. Fewer than stored have the first times.
        """
        time = self.tensors["visual.temporal_embed"]
        tensors = {
            **self.tensors,
            "visual.temporal_embed": _resampled(time, frames, self.family.more_frames),
        }
        return replace(self, config=replace(self.config, frames=frames), tensors=tensors)

    def build(self, tokenizer: str | None = None, text: bool = True) -> DualEncoder:
        """The model, in evaluation mode.

        Args:
            tokenizer: hub id or folder of the tokenizer of a DistilBERT or RoBERTa; None for the
                one that was trained with, from the hub. CLIP's comes with the package.
            text: whether texts will be encoded; if not, no tokenizer is needed.

        Raises:
            WeightsError: the tokenizer is not to be had.
            ConfigurationError: it is another model's.
            CheckpointMismatchError: lists tensors that are missing, unexpected or of another shape.
        """
        found = shapes(self.tensors)
        textual: ClipText | LanguageModelText | None = None
        if self.text == "clip":
            textual = self._clip_text()
        elif self.text is not None:
            textual = LanguageModelText(
                self.text,
                _below(found, "textual.model."),
                load_tokenizer(tokenizer or str(self.tokenizer)) if text else None,
                self.family.context,
            )
        projections = {
            part: projection(below) if (below := _below(found, f"{part}_projection.")) else None
            for part in ("video", "text")
        }
        model = DualEncoder(
            TimeSformer(self.config), textual, projections["video"], projections["text"]
        )
        report_mismatches(shapes(model.state_dict()), found, str(self.origin))
        model.load_state_dict(dict(self.tensors), assign=True)
        return model.eval().requires_grad_(False)

    def _clip_text(self) -> ClipText:
        parts = _below(self.tensors, "textual.model.")
        vocabulary, width = parts["token_embedding.weight"].shape
        config = TextConfig(
            vocabulary=vocabulary,
            context=len(parts["positional_embedding"]),
            width=width,
            layers=layer_count(parts, r"transformer\.resblocks\.(\d+)\."),
            heads=max(1, width // _HEAD_CHANNELS),
            feed_forward=len(parts["transformer.resblocks.0.mlp.fc1.weight"]),
            activation="quick_gelu",
            causal=True,
        )
        return ClipText(config, parts["text_projection"].shape[1])


def timesformer_file(
    path: str | Path | None, family: FamilyName | None = None, where: str = "checkpoint"
) -> Path:
    """The file that :func:`read_timesformer` would read.

    Raises:
        CheckpointError: none is named, or there is none.
    """
    expected = _families(family)
    titles = ", ".join(one.title for one in expected)
    if path is None:
        raise CheckpointError(
            f"Expected {where}=FILE, published weights of {titles}, got none. They are not "
            f"downloaded for you. Files: {'; '.join(one.source for one in expected)}."
        )
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"Expected {where} to name a file of {titles}, found none at {path}. Files: "
            f"{'; '.join(one.source for one in expected)}."
        )
    return path


def read_timesformer(
    path: str | Path | None, family: FamilyName | None = None, where: str = "checkpoint"
) -> PublishedTimeSformer:
    """Read a published file and recognize what it is.

    Args:
        path: a safetensors file, or a torch file as a training script wrote it, of which nothing
            is executed. A file of the video encoder alone will do.
        family: that the file has to be of; None for any.
        where: what the user calls ``path``, for messages.

    Raises:
        CheckpointError: no file is named, there is none, or it is of another family.
        WeightsError: the file cannot be read.
        CheckpointMismatchError: its names are those of no TimeSformer, or a tensor that tells a
            size is missing or of another shape.
    """
    path = timesformer_file(path, family, where)
    expected = _families(family)
    published = as_timesformer(read_tensors(path), path)
    if published.family not in expected:
        titles = ", ".join(one.title for one in expected)
        raise CheckpointError(
            f"Expected {where} to name a file of {titles}, {path} is one of "
            f"{published.family.title}. Choose {published.family.name} instead of {family}: "
            "preprocessing and activation differ between families."
        )
    return published


def _families(family: FamilyName | None) -> list[TimeSformerFamily]:
    return list(FAMILIES.values()) if family is None else [FAMILIES[family]]


def as_timesformer(tensors: Mapping[str, torch.Tensor], path: Path) -> PublishedTimeSformer:
    """What tensors by published names are.

    Raises:
        CheckpointMismatchError: they are of another architecture.
    """
    names = {name.removeprefix("module.") for name in tensors}
    family = recognize(names, path)
    found: dict[str, torch.Tensor] = {}
    for name, tensor in our_names(tensors).items():
        if name.startswith("fc_cls.") or name.endswith(".position_ids"):
            continue  # the heads of a classifier; a buffer that counts from 0
        if family is EGOVLPV2 and _FUSION.search(name):
            continue
        for pattern, replacement in _SPELLINGS:
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    text = _text_kind(found)
    # Matrices that multiply from the right, where later models have linear layers.
    if "image_projection" in found:
        found["video_projection.0.weight"] = found.pop("image_projection").T.contiguous()
    try:
        config = _config(family, found)
        if text == "clip":
            found["textual.model.text_projection"] = found.pop("textual.text_projection")
        elif "textual.text_projection" in found:
            found["text_projection.0.weight"] = found.pop("textual.text_projection").T.contiguous()
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointMismatchError(
            f"Expected {path} to hold a TimeSformer of {family.title}; a tensor that tells its "
            f"size is missing or of another shape ({type(error).__name__}: {error})."
        ) from error
    return PublishedTimeSformer(path, family, config, text, found)


def recognize(names: Iterable[str], path: Path) -> TimeSformerFamily:
    """The family that names of tensors belong to, without their prefix ``module.``.

    Raises:
        CheckpointMismatchError: they are those of another architecture.
    """
    names = set(names)

    def some(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in names)

    if some("text_decoder."):
        raise CheckpointMismatchError(
            f"Expected a model of videos and texts, {path} holds a narrator of LaViLa, writing "
            "captions. Use one of the dual encoders of its model zoo."
        )
    if some("video_model.blocks."):
        return EGOVLPV2 if some("text_model.encoder.") else EGOVLP
    if some("visual.blocks."):
        return LAVILA if some("visual.ln_pre.") else EGOVLP
    if some("transformer.decoder.layers.") and some("obj_proj."):
        raise CheckpointMismatchError(
            f"Expected a TimeSformer, {path} holds the decoder that HelpingHands trains on top of "
            "LaViLa's TimeSformer-L, which stays as it is. Name LaViLa's file: "
            "clip_openai_timesformer_large.narrator_rephraser.ep_0003.md5sum_c89337.pth."
        )
    raise CheckpointMismatchError(
        f"Expected {path} to hold a TimeSformer by the names of "
        f"{', '.join(family.title for family in FAMILIES.values())}, got names such as "
        f"{', '.join(sorted(names)[:3])}. A ViT of EgoDTM, AVION or OpenAI's CLIP is read by "
        "egodtm."
    )


def _text_kind(tensors: Mapping[str, torch.Tensor]) -> Literal["clip"] | Kind | None:
    parts = _below(tensors, "textual.model.")
    if not parts:
        return None
    if "token_embedding.weight" in parts:
        return "clip"
    return "roberta" if any(name.startswith("encoder.") for name in parts) else "distilbert"


def _config(family: TimeSformerFamily, tensors: Mapping[str, torch.Tensor]) -> TimeSformerConfig:
    """Sizes as the shapes tell them, settings as the family does."""
    parts = _below(tensors, "visual.")
    width, _, patch, _ = parts["patch_embed.proj.weight"].shape
    side = math.isqrt(parts["pos_embed"].shape[1] - 1)
    return TimeSformerConfig(
        image_size=side * patch,
        patch_size=patch,
        frames=parts["temporal_embed"].shape[1],
        width=width,
        layers=layer_count(parts, r"blocks\.(\d+)\."),
        heads=max(1, width // _HEAD_CHANNELS),
        feed_forward=len(parts["blocks.0.mlp.fc1.weight"]),
        activation=family.activation,
        norm_eps=family.norm_eps,
        pre_norm="ln_pre.weight" in parts,
        patch_bias="patch_embed.proj.bias" in parts,
        time_gate="blocks.0.alpha_timeattn" in parts,
        mean=family.mean,
        std=family.std,
    )


def _resampled(
    time: torch.Tensor, frames: int, more: Literal["interpolated", "aligned", "zero"]
) -> torch.Tensor:
    """Times (1, T, D) for another number of frames, see :class:`TimeSformerFamily`."""
    stored = time.shape[1]
    if frames <= stored:
        return time[:, :frames].contiguous()
    if more == "zero":
        return functional.pad(time, (0, 0, 0, frames - stored))
    longer = functional.interpolate(
        time.transpose(1, 2), frames, mode="linear", align_corners=more == "aligned"
    )
    return longer.transpose(1, 2).contiguous()


def _below(parts: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What has names with a prefix, by the rest of the names."""
    return {name.removeprefix(prefix): v for name, v in parts.items() if name.startswith(prefix)}
