"""What a model is made of: typed sizes of each part. The defaults are the published model's."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from egodtm_robot.core.errors import ConfigurationError

Activation = Literal["gelu", "quick_gelu"]
Stem = Literal["pixels", "efficientnet_lite0"]


def check_heads(part: str, width: int, heads: int) -> None:
    """Refuse a width that cannot be shared among attention heads.

    Raises:
        ConfigurationError: it is no multiple of them.
    """
    if heads < 1 or width % heads:
        raise ConfigurationError(
            f"Expected the width of the {part} to be a multiple of its heads, got width {width} "
            f"and {heads} heads."
        )


@dataclass
class VisionConfig:
    """The video encoder: a ViT with joint attention over space and time."""

    image_size: int = 224
    """Side in pixels that the position embedding is stored for; others are interpolated."""

    patch_size: int = 16
    """Side of a patch in pixels. The sides of a frame must be multiples of it."""

    stem: Stem = "pixels"
    """What a patch shows to the encoder: its ``pixels``, as published, or features of
    ``efficientnet_lite0``, which start as ImageNet taught them (``training.stem_rate``): for models
    that have no CLIP to start from."""

    patch_colors: bool = False
    """Whether the blocks are also shown the mean colors of each sixteenth of a patch, beside the
    stem's features: for a stem that was taught to see past colors (``objective=looks``), which
    texts name. The stem itself, and a policy on its features, see nothing of it."""

    frames: int = 4
    """Frames that the temporal embedding is stored for; other numbers are interpolated."""

    width: int = 768
    """Channels of a token."""

    layers: int = 12
    """Blocks of attention and feed-forward."""

    heads: int = 12
    """Attention heads; must divide the width."""

    feed_forward: int = 3072
    """Hidden channels of the feed-forward part of a block."""

    activation: Activation = "gelu"
    """``gelu`` as AVION and EgoDTM train, ``quick_gelu`` for OpenAI's own CLIP weights."""

    norm_eps: float = 1e-6
    """Epsilon of the LayerNorms: 1e-6 as published, 1e-5 in OpenAI's CLIP."""

    mean: list[float] = field(default_factory=lambda: [0.48145466, 0.4578275, 0.40821073])
    """By color, of pixels in [0, 1]. CLIP's own; the recipe names none."""

    std: list[float] = field(default_factory=lambda: [0.26862954, 0.26130258, 0.27577711])
    """By color, of pixels in [0, 1]. CLIP's own; the recipe names none."""

    def identity(self) -> dict[str, Any]:
        """What enters a fingerprint: a field that came later only where it changes anything."""
        parts = asdict(self)
        if not self.patch_colors:
            del parts["patch_colors"]
        return parts

    def __post_init__(self) -> None:
        check_heads("video encoder", self.width, self.heads)
        if self.stem != "pixels" and self.patch_size != 16:
            raise ConfigurationError(
                f"Expected patch_size 16 for the stem {self.stem}, got {self.patch_size}."
            )
        if self.patch_colors and self.stem == "pixels":
            raise ConfigurationError(
                "Expected patch_colors=false for the stem pixels, which shows all colors, got true."
            )
        if self.image_size % self.patch_size:
            raise ConfigurationError(
                f"Expected image_size to be a multiple of patch_size, got {self.image_size} and "
                f"{self.patch_size}."
            )


@dataclass
class TextConfig:
    """The text encoder: CLIP's, over CLIP's ids."""

    vocabulary: int = 49408
    """Rows of the token table: CLIP's ids."""

    context: int = 77
    """Ids that a text has at most, marks of start and end included."""

    width: int = 512
    """Channels of a token inside the transformer."""

    token_width: int | None = None
    """Channels of the token table where it is factorized: ids -> token_width -> width. Null for a
    table of the full width, as published."""

    layers: int = 12
    """Blocks of attention and feed-forward."""

    heads: int = 8
    """Attention heads; must divide the width."""

    feed_forward: int = 2048
    """Hidden channels of the feed-forward part of a block."""

    activation: Activation = "gelu"
    """``gelu`` or ``quick_gelu``, see the video encoder."""

    norm_eps: float = 1e-5
    """Epsilon of the LayerNorms."""

    causal: bool = False
    """Whether a token sees only those before it, as in CLIP. The published EgoDTM sees all."""

    mask_padding: bool = False
    """Whether padding behind the end of the text is hidden. The published model sees it; hidden, a
    batch costs no more than its longest text."""

    def __post_init__(self) -> None:
        check_heads("text encoder", self.width, self.heads)


@dataclass
class DepthDecoderConfig:
    """The 3D-aware decoder: bins of depth from queries, on a small feature pyramid."""

    width: int = 256
    """Channels of queries and of the coarse map that they attend to."""

    mask_width: int = 256
    """Channels of the fine map that queries are compared with: most of the decoder's cost."""

    layers: int = 5
    """Layers of cross-attention, self-attention and feed-forward."""

    heads: int = 8
    """Attention heads; must divide the width."""

    feed_forward: int = 2048
    """Hidden channels of the feed-forward part of a layer."""

    queries: int = 8
    """Depth bins."""

    upsampling: Literal[2, 4] = 4
    """Cells of the depth map along a patch's side: 4 or 2 (56 or 28 for 224 pixels)."""

    positions_in_values: bool = True
    """Whether the queries' self-attention adds their positions to values too, as the published
    build with flash attention does, which is the one that was trained. The build with plain
    attention adds them to queries and keys alone."""

    def identity(self) -> dict[str, Any]:
        """What enters a fingerprint: a field that came later only where it changes anything."""
        parts = asdict(self)
        if self.positions_in_values:
            del parts["positions_in_values"]
        return parts

    def __post_init__(self) -> None:
        check_heads("depth decoder", self.width, self.heads)


@dataclass
class RegionDecoderConfig:
    """Boxes of hands and objects from queries: the 2D counterpart of the depth decoder."""

    enabled: bool = False
    """Whether the model has it. The published model does not."""

    width: int = 256
    """Channels of queries."""

    layers: int = 5
    """Layers of cross-attention, self-attention and feed-forward."""

    heads: int = 8
    """Attention heads; must divide the width."""

    feed_forward: int = 2048
    """Hidden channels of the feed-forward part of a layer."""

    objects: int = 3
    """Object queries, beside one for each hand; at most 5, because all their orders are tried."""

    names: bool = False
    """Whether object queries are also brought to the space shared with texts, to be named."""

    def __post_init__(self) -> None:
        check_heads("region decoder", self.width, self.heads)
        if not 0 <= self.objects <= 5:
            raise ConfigurationError(f"Expected 0 to 5 object queries, got {self.objects}.")


@dataclass
class EntityDecoderConfig:
    """Patches grouped into entities, which are named and held to boxes."""

    enabled: bool = False
    """Whether the model has it. The published model does not."""

    width: int = 128
    """Channels of groups."""

    heads: int = 4
    """Attention heads; must divide the width."""

    feed_forward: int = 512
    """Hidden channels of the feed-forward parts."""

    parts: int = 16
    """Groups of the first step, in each frame."""

    entities: int = 8
    """Groups of the second step, in the whole clip."""

    objects: int = 3
    """Objects, beside the two hands, that entities are held to and named as, at most."""

    def __post_init__(self) -> None:
        check_heads("entity decoder", self.width, self.heads)
        if not 1 <= self.objects <= self.entities - 2 <= self.parts - 2:
            raise ConfigurationError(
                "Expected 1 or more objects, at least two entities more than objects, and at least "
                f"as many parts as entities, got objects={self.objects}, "
                f"entities={self.entities} and parts={self.parts}."
            )


@dataclass
class EgoDTMConfig:
    """The whole model: the ``model`` part of the configuration."""

    name: str = "egodtm_base"
    """What tables and cards call it."""

    joint_width: int = 256
    """Channels of the space that videos and texts are compared in."""

    temperature: float = 0.07
    """Divides similarities in the contrastive loss; frozen."""

    vision: VisionConfig = field(default_factory=VisionConfig)
    """Video encoder."""

    text: TextConfig = field(default_factory=TextConfig)
    """Text encoder."""

    depth_decoder: DepthDecoderConfig = field(default_factory=DepthDecoderConfig)
    """Depth decoder."""

    region_decoder: RegionDecoderConfig = field(default_factory=RegionDecoderConfig)
    """Region decoder."""

    entity_decoder: EntityDecoderConfig = field(default_factory=EntityDecoderConfig)
    """Entity decoder."""

    gradient_checkpointing: bool = False
    """Whether activations inside blocks are computed again in the backward pass instead of kept:
    less memory for a third more time. No effect on results."""
