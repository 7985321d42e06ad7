"""Weights as EgoDTM, AVION and CLIP publish them, at a tiny size, and what they compute.

Names and shapes are written down from the published training code, and the forward passes are
written in plain steps from its recipe: nothing here knows of the package's model or loader. Every
weight is far from its usual start (norms not 1, biases not 0), so that any slip shows.
"""

import math
from collections.abc import Callable

import torch
from torch.nn import functional

Tensors = dict[str, torch.Tensor]

PATCH, SIDE, FRAMES = 16, 32, 4
WIDTH, HEADS, LAYERS = 128, 2, 2
TEXT_WIDTH, TEXT_HEADS, TEXT_LAYERS, VOCABULARY, CONTEXT = 64, 1, 2, 100, 77
JOINT = 24
DECODER_WIDTH, DECODER_HEADS, DECODER_LAYERS, QUERIES, HIDDEN = 64, 2, 2, 4, 96


def weights(upsampling: int = 4, seed: int = 0) -> Tensors:
    """All tensors of an EgoDTM by CLIP's spelling, without the prefixes of any family."""
    shapes: dict[str, tuple[int, ...]] = {
        "visual.conv1.weight": (WIDTH, 3, PATCH, PATCH),
        "visual.class_embedding": (WIDTH,),
        "visual.positional_embedding": (1 + (SIDE // PATCH) ** 2, WIDTH),
        "visual.temporal_embedding": (FRAMES, WIDTH),
        "image_projection": (WIDTH, JOINT),
        "textual.token_embedding.weight": (VOCABULARY, TEXT_WIDTH),
        "textual.positional_embedding": (CONTEXT, TEXT_WIDTH),
        "textual.text_projection": (TEXT_WIDTH, JOINT),
    }

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    def linear(name: str, inputs: int, outputs: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def attention(name: str, width: int) -> None:
        shapes[f"{name}.in_proj_weight"] = (3 * width, width)
        shapes[f"{name}.in_proj_bias"] = (3 * width,)
        linear(f"{name}.out_proj", width, width)

    for tower, width, layers in (
        ("visual", WIDTH, LAYERS),
        ("textual", TEXT_WIDTH, TEXT_LAYERS),
    ):
        for layer in range(layers):
            block = f"{tower}.transformer.resblocks.{layer}"
            norm(f"{block}.ln_1", width)
            norm(f"{block}.ln_2", width)
            attention(f"{block}.attn", width)
            linear(f"{block}.mlp.c_fc", width, 4 * width)
            linear(f"{block}.mlp.c_proj", 4 * width, width)
    for name, width in (("visual.ln_pre", WIDTH), ("visual.ln_post", WIDTH)):
        norm(name, width)
    norm("textual.ln_final", TEXT_WIDTH)

    c = DECODER_WIDTH
    linear("input_proj", WIDTH, c)
    if upsampling == 4:
        fine, last = "fpn.simfp_2", 4
        shapes["fpn.simfp_2.0.weight"], shapes["fpn.simfp_2.0.bias"] = (c, c // 2, 2, 2), (c // 2,)
        norm("fpn.simfp_2.1", c // 2)
        shapes["fpn.simfp_2.3.weight"] = (c // 2, c // 4, 2, 2)
        shapes["fpn.simfp_2.3.bias"] = (c // 4,)
    else:
        fine, last = "fpn.simfp_3", 1
        shapes["fpn.simfp_3.0.weight"], shapes["fpn.simfp_3.0.bias"] = (c, c // 2, 2, 2), (c // 2,)
    shapes[f"{fine}.{last}.weight"] = (c, c // upsampling, 1, 1)
    shapes[f"{fine}.{last + 1}.weight"] = (c, c, 3, 3)
    shapes["fpn.simfp_4.0.weight"], shapes["fpn.simfp_4.1.weight"] = (c, c, 1, 1), (c, c, 3, 3)
    for name in (f"{fine}.{last}", f"{fine}.{last + 1}", "fpn.simfp_4.0", "fpn.simfp_4.1"):
        norm(f"{name}.norm", c)
    shapes["mask_features.weight"], shapes["mask_features.bias"] = (c, c, 1, 1), (c,)
    shapes["decoder.query_feat.weight"] = shapes["decoder.query_embed.weight"] = (QUERIES, c)
    norm("decoder.decoder_norm", c)
    linear("decoder.class_embed", c, 1)
    for layer in range(3):
        linear(f"decoder.mask_embed.layers.{layer}", c, c)
    for layer in range(DECODER_LAYERS):
        cross = f"decoder.transformer_cross_attention_layers.{layer}"
        own = f"decoder.transformer_self_attention_layers.{layer}"
        forward = f"decoder.transformer_ffn_layers.{layer}"
        for part in (cross, own, forward):
            norm(f"{part}.norm", c)
        attention(f"{cross}.multihead_attn", c)
        attention(f"{own}.self_attn", c)
        linear(f"{forward}.linear1", c, HIDDEN)
        linear(f"{forward}.linear2", HIDDEN, c)

    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        if ".ln_" in name or "norm" in name or name.startswith("fpn.simfp_2.1."):
            values = values * 0.2 + (1 if name.endswith("weight") else 0)
        elif name.endswith("bias"):
            values = values * 0.1
        elif len(shape) > 1 and "embed" not in name.split(".")[-1] and "query" not in name:
            values = values / math.sqrt(math.prod(shape[1:]))
        found[name] = values.float()
    return found


# -- names as each family writes them -----------------------------------------------------------


def as_egodtm(tensors: Tensors, flash: bool = True) -> Tensors:
    """Encoders below ``backbone``, the decoder at the top, ``module.`` before everything."""
    named = {}
    for name, tensor in tensors.items():
        if flash and not name.startswith("textual.") and ".multihead_attn." not in name:
            name = _flash(name)
            if name == "visual.conv1.weight":
                tensor = tensor.flatten(1)
        inside = name.startswith(("visual.", "textual."))
        named[f"module.backbone.{name}" if inside else f"module.{name}"] = tensor
    named["module.backbone.logit_scale"] = torch.tensor(2.66)
    named["module.vtm_head.weight"], named["module.vtm_head.bias"] = torch.ones(2, 8), torch.ones(2)
    return named


def as_avion(tensors: Tensors, flash: bool = True) -> Tensors:
    """Both projections lie within the encoders; there is no decoder."""
    named = {}
    for name, tensor in tensors.items():
        if name == "image_projection":
            name = "visual.image_projection"
        if not name.startswith(("visual.", "textual.")):
            continue
        if flash:
            name = _flash(name)
        named[f"module.{name}"] = tensor
    named["module.logit_scale"] = torch.tensor(2.66)
    return named


def as_avion_classifier(tensors: Tensors) -> Tensors:
    """The video encoder alone, with a classifier on it."""
    named = {
        name: tensor
        for name, tensor in as_avion(tensors).items()
        if name.startswith("module.visual.") and not name.endswith("image_projection")
    }
    return named | {
        "module.fc_cls.weight": torch.ones(97, WIDTH),
        "module.fc_cls.bias": torch.ones(97),
    }


def as_openai(tensors: Tensors) -> Tensors:
    """The text encoder at the top, no time, half precision."""
    named = {}
    for name, tensor in tensors.items():
        if name == "image_projection":
            name = "visual.proj"
        if not name.startswith(("visual.", "textual.")) or "temporal" in name:
            continue
        named[name.removeprefix("textual.")] = tensor.half()
    sizes = {"input_resolution": SIDE, "context_length": CONTEXT, "vocab_size": VOCABULARY}
    return named | {name: torch.tensor(size) for name, size in sizes.items()}


def _flash(name: str) -> str:
    """A name as flash-attention's modules give it."""
    name = name.replace(".in_proj_weight", ".Wqkv.weight").replace(".in_proj_bias", ".Wqkv.bias")
    name = name.replace(".mlp.c_fc.", ".mlp.fc1.").replace(".mlp.c_proj.", ".mlp.fc2.")
    return name.replace(".linear1.", ".mlp.fc1.").replace(".linear2.", ".mlp.fc2.")


# -- what they compute, step by step in float64 --------------------------------------------------


class SlowModel:
    """The forward passes of the published code.

    Args:
        tensors: of :func:`weights`.
        causal: whether a text token sees only those before it.
        quick: whether the activation is QuickGELU.
        vision_eps: of the video encoder's norms.
        mean: by color, of pixels in [0, 1].
        std: by color, of pixels in [0, 1].
        plain: whether the decoder is that of the plain-attention build.
    """

    def __init__(
        self,
        tensors: Tensors,
        causal: bool,
        quick: bool,
        vision_eps: float,
        mean: list[float],
        std: list[float],
        plain: bool = False,
    ) -> None:
        self.tensors = {name: tensor.double() for name, tensor in tensors.items()}
        self.causal, self.vision_eps, self.plain = causal, vision_eps, plain
        self.mean, self.std = torch.tensor(mean).double(), torch.tensor(std).double()
        self.activation: Callable[[torch.Tensor], torch.Tensor] = (
            (lambda x: x * torch.sigmoid(1.702 * x)) if quick else functional.gelu
        )

    def video(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Uint8 (T, H, W, 3) -> class token (D,) and patches (T, L, D)."""
        pixels = (frames.double() / 255 - self.mean) / self.std
        maps = functional.conv2d(
            pixels.permute(0, 3, 1, 2), self["visual.conv1.weight"], stride=PATCH
        )
        place, time = self["visual.positional_embedding"], self["visual.temporal_embedding"]
        rows = [self["visual.class_embedding"] + place[0]]
        for t in range(len(frames)):
            patches = maps[t].flatten(1).T
            rows += [patches[i] + place[1 + i] + time[t] for i in range(len(patches))]
        tokens = self._norm(torch.stack(rows), "visual.ln_pre", self.vision_eps)
        tokens = self._blocks(tokens, "visual", LAYERS, HEADS, self.vision_eps, causal=False)
        tokens = self._norm(tokens, "visual.ln_post", self.vision_eps)
        return tokens[0], tokens[1:].unflatten(0, (len(frames), -1))

    def video_embedding(self, frames: torch.Tensor) -> torch.Tensor:
        """Uint8 (T, H, W, 3) -> (J,), of length 1."""
        embedding = self.video(frames)[0] @ self["image_projection"]
        return embedding / embedding.norm()

    def text_embedding(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids (77,) -> (J,), of length 1."""
        tokens = self["textual.token_embedding.weight"][ids] + self["textual.positional_embedding"]
        tokens = self._blocks(tokens, "textual", TEXT_LAYERS, TEXT_HEADS, 1e-5, self.causal)
        end = self._norm(tokens, "textual.ln_final", 1e-5)[int(ids.argmax())]
        embedding = end @ self["textual.text_projection"]
        return embedding / embedding.norm()

    def depths(self, frames: torch.Tensor) -> list[torch.Tensor]:
        """Uint8 (T, H, W, 3) -> (T, h, w) before the decoder's first layer and after each."""
        _, patches = self.video(frames)
        side = math.isqrt(patches.shape[1])
        maps = self._linear(patches, "input_proj").transpose(1, 2).unflatten(2, (side, side))
        if "fpn.simfp_2.0.weight" in self.tensors:
            fine = self._upsample(maps, "fpn.simfp_2.0")
            fine = functional.gelu(self._channel_norm(fine, "fpn.simfp_2.1"))
            fine = self._upsample(fine, "fpn.simfp_2.3")
            fine = self._convolve(self._convolve(fine, "fpn.simfp_2.4"), "fpn.simfp_2.5")
        else:
            fine = self._upsample(maps, "fpn.simfp_3.0")
            fine = self._convolve(self._convolve(fine, "fpn.simfp_3.1"), "fpn.simfp_3.2")
        coarse = self._convolve(self._convolve(maps, "fpn.simfp_4.0"), "fpn.simfp_4.1")
        fine = functional.conv2d(fine, self["mask_features.weight"], self["mask_features.bias"])
        memory = coarse.flatten(2).transpose(1, 2).flatten(0, 1)
        queries, places = self["decoder.query_feat.weight"], self["decoder.query_embed.weight"]
        found = [self._depth(queries, fine)]
        for layer in range(DECODER_LAYERS):
            name = f"decoder.transformer_cross_attention_layers.{layer}"
            seen = self._attend(
                queries + places, memory, memory, f"{name}.multihead_attn", DECODER_HEADS
            )
            queries = self._norm(queries + seen, f"{name}.norm", 1e-5)
            name = f"decoder.transformer_self_attention_layers.{layer}"
            placed = queries + places
            values = queries if self.plain else placed
            seen = self._attend(placed, placed, values, f"{name}.self_attn", DECODER_HEADS)
            queries = self._norm(queries + seen, f"{name}.norm", 1e-5)
            name = f"decoder.transformer_ffn_layers.{layer}"
            hidden = self._linear(queries, f"{name}.linear1").relu()
            hidden = self._linear(hidden, f"{name}.linear2")
            queries = self._norm(queries + hidden, f"{name}.norm", 1e-5)
            found.append(self._depth(queries, fine))
        return found

    def _depth(self, queries: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
        queries = self._norm(queries, "decoder.decoder_norm", 1e-5)
        widths = self._linear(queries, "decoder.class_embed")[:, 0].relu() + 0.1
        widths = widths / widths.sum()
        centers = widths.cumsum(0) - widths / 2
        masks = queries
        for layer in range(3):
            masks = self._linear(masks, f"decoder.mask_embed.layers.{layer}")
            masks = masks.relu() if layer < 2 else masks
        shares = torch.einsum("qc,tchw->tqhw", masks, fine).softmax(dim=1)
        return torch.einsum("q,tqhw->thw", centers, shares)

    def _blocks(
        self, tokens: torch.Tensor, tower: str, layers: int, heads: int, eps: float, causal: bool
    ) -> torch.Tensor:
        for layer in range(layers):
            name = f"{tower}.transformer.resblocks.{layer}"
            normed = self._norm(tokens, f"{name}.ln_1", eps)
            tokens = tokens + self._attend(normed, normed, normed, f"{name}.attn", heads, causal)
            hidden = self._linear(self._norm(tokens, f"{name}.ln_2", eps), f"{name}.mlp.c_fc")
            tokens = tokens + self._linear(self.activation(hidden), f"{name}.mlp.c_proj")
        return tokens

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        name: str,
        heads: int,
        causal: bool = False,
    ) -> torch.Tensor:
        width = query.shape[-1]
        matrix, bias = self[f"{name}.in_proj_weight"], self[f"{name}.in_proj_bias"]
        query, key, value = (
            tokens @ matrix[i * width : (i + 1) * width].T + bias[i * width : (i + 1) * width]
            for i, tokens in enumerate((query, key, value))
        )
        size = width // heads
        mixed = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            scores = query[:, own] @ key[:, own].T / math.sqrt(size)
            if causal:
                later = torch.ones(scores.shape, dtype=torch.bool).triu(1)
                scores = scores.masked_fill(later, -math.inf)
            mixed.append(scores.softmax(dim=-1) @ value[:, own])
        return self._linear(torch.cat(mixed, dim=-1), f"{name}.out_proj")

    def _upsample(self, maps: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self[f"{name}.weight"], self[f"{name}.bias"]
        return functional.conv_transpose2d(maps, weight, bias, stride=2)

    def _convolve(self, maps: torch.Tensor, name: str) -> torch.Tensor:
        weight = self[f"{name}.weight"]
        maps = functional.conv2d(maps, weight, padding=weight.shape[-1] // 2)
        return self._channel_norm(maps, f"{name}.norm")

    def _channel_norm(self, maps: torch.Tensor, name: str) -> torch.Tensor:
        return self._norm(maps.permute(0, 2, 3, 1), name, 1e-6).permute(0, 3, 1, 2)

    def _linear(self, tokens: torch.Tensor, name: str) -> torch.Tensor:
        return tokens @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    def _norm(self, tokens: torch.Tensor, name: str, eps: float) -> torch.Tensor:
        centered = tokens - tokens.mean(dim=-1, keepdim=True)
        deviation = (centered.square().mean(dim=-1, keepdim=True) + eps).sqrt()
        return centered / deviation * self[f"{name}.weight"] + self[f"{name}.bias"]

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]
