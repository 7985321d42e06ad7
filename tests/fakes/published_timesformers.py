"""Weights as LaViLa, EgoVLP and EgoVLPv2 publish them, at a tiny size, and what they compute.

Names and shapes are written down from the published training code, and the forward passes are
written in plain steps from its recipe: nothing here knows of the package's models or loaders. Every
weight is far from its usual start (norms not 1, biases not 0), so that any slip shows.
"""

import math

import torch
from torch.nn import functional

Tensors = dict[str, torch.Tensor]

PATCH, SIDE, FRAMES = 16, 32, 4
PLACES = (SIDE // PATCH) ** 2
WIDTH, HEADS, LAYERS = 128, 2, 2
TEXT_WIDTH, TEXT_LAYERS, CONTEXT = 64, 2, 77
CLIP_VOCABULARY = 49408
JOINT = 24
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "hand", "takes", "the", "cup", "knife"]
"""Of a tokenizer of DistilBERT."""


def random(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Tensors:
    """A tensor of each shape: norms around 1, matrices of a size that keeps the signal's."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        is_norm = ".norm" in f".{name}" or "ln_" in name or "layer_norm" in name.lower()
        if (is_norm or "LayerNorm" in name) and name.endswith("weight"):
            found[name] = 1 + 0.2 * values
        elif len(shape) == 2 and "embed" not in name:
            found[name] = values * shape[1] ** -0.5
        else:
            found[name] = 0.3 * values
    return found


def linear(shapes: dict, name: str, inputs: int, outputs: int) -> None:
    """The shapes of a linear layer."""
    shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)


def norm(shapes: dict, name: str, width: int) -> None:
    """The shapes of a norm."""
    shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)


def video_shapes(frames: int = FRAMES, clip: bool = True, gate: bool = False) -> dict:
    """A TimeSformer's shapes without any prefix."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, PLACES + 1, WIDTH),
        "temporal_embed": (1, frames, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
    }
    if clip:
        norm(shapes, "ln_pre", WIDTH)
    else:
        shapes["patch_embed.proj.bias"] = (WIDTH,)
    for layer in range(LAYERS):
        block = f"blocks.{layer}"
        for number in (1, 2, 3):
            norm(shapes, f"{block}.norm{number}", WIDTH)
        for step in ("attn", "timeattn"):
            linear(shapes, f"{block}.{step}.qkv", WIDTH, 3 * WIDTH)
            linear(shapes, f"{block}.{step}.proj", WIDTH, WIDTH)
        linear(shapes, f"{block}.mlp.fc1", WIDTH, 4 * WIDTH)
        linear(shapes, f"{block}.mlp.fc2", 4 * WIDTH, WIDTH)
        if gate:
            shapes[f"{block}.alpha_timeattn"] = ()
    norm(shapes, "norm", WIDTH)
    return shapes


def clip_text_shapes() -> dict:
    """The shapes of CLIP's text encoder, by OpenAI's names."""
    shapes: dict[str, tuple[int, ...]] = {
        "positional_embedding": (CONTEXT, TEXT_WIDTH),
        "text_projection": (TEXT_WIDTH, JOINT),
        "token_embedding.weight": (CLIP_VOCABULARY, TEXT_WIDTH),
    }
    for layer in range(TEXT_LAYERS):
        block = f"transformer.resblocks.{layer}"
        norm(shapes, f"{block}.ln_1", TEXT_WIDTH)
        norm(shapes, f"{block}.ln_2", TEXT_WIDTH)
        shapes[f"{block}.attn.in_proj_weight"] = (3 * TEXT_WIDTH, TEXT_WIDTH)
        shapes[f"{block}.attn.in_proj_bias"] = (3 * TEXT_WIDTH,)
        linear(shapes, f"{block}.attn.out_proj", TEXT_WIDTH, TEXT_WIDTH)
        linear(shapes, f"{block}.mlp.c_fc", TEXT_WIDTH, 4 * TEXT_WIDTH)
        linear(shapes, f"{block}.mlp.c_proj", 4 * TEXT_WIDTH, TEXT_WIDTH)
    norm(shapes, "ln_final", TEXT_WIDTH)
    return shapes


def distilbert_shapes(vocabulary: int = len(WORDS)) -> dict:
    """The shapes of a DistilBERT."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (vocabulary, TEXT_WIDTH),
        "embeddings.position_embeddings.weight": (512, TEXT_WIDTH),
    }
    norm(shapes, "embeddings.LayerNorm", TEXT_WIDTH)
    for layer in range(TEXT_LAYERS):
        block = f"transformer.layer.{layer}"
        for part in "qkv":
            linear(shapes, f"{block}.attention.{part}_lin", TEXT_WIDTH, TEXT_WIDTH)
        linear(shapes, f"{block}.attention.out_lin", TEXT_WIDTH, TEXT_WIDTH)
        norm(shapes, f"{block}.sa_layer_norm", TEXT_WIDTH)
        linear(shapes, f"{block}.ffn.lin1", TEXT_WIDTH, 96)
        linear(shapes, f"{block}.ffn.lin2", 96, TEXT_WIDTH)
        norm(shapes, f"{block}.output_layer_norm", TEXT_WIDTH)
    return shapes


def roberta_shapes(vocabulary: int = 30, fused: bool = True) -> dict:
    """The shapes of EgoVLPv2's RoBERTa, whose last layers also look at a video."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.position_ids": (1, 514),
        "embeddings.word_embeddings.weight": (vocabulary, TEXT_WIDTH),
        "embeddings.position_embeddings.weight": (514, TEXT_WIDTH),
        "embeddings.token_type_embeddings.weight": (1, TEXT_WIDTH),
    }
    norm(shapes, "embeddings.LayerNorm", TEXT_WIDTH)
    for layer in range(TEXT_LAYERS):
        block = f"encoder.layer.{layer}"
        attentions = ["attention"]
        if fused and layer >= TEXT_LAYERS // 2:
            attentions.append("crossattention_t2i")
            shapes[f"{block}.alpha_t2i"] = (1,)
        for attention in attentions:
            for part in ("query", "key", "value"):
                linear(shapes, f"{block}.{attention}.self.{part}", TEXT_WIDTH, TEXT_WIDTH)
            linear(shapes, f"{block}.{attention}.output.dense", TEXT_WIDTH, TEXT_WIDTH)
            if attention == "attention":
                norm(shapes, f"{block}.{attention}.output.LayerNorm", TEXT_WIDTH)
        linear(shapes, f"{block}.intermediate.dense", TEXT_WIDTH, 96)
        linear(shapes, f"{block}.output.dense", 96, TEXT_WIDTH)
        norm(shapes, f"{block}.output.LayerNorm", TEXT_WIDTH)
    return shapes


def _prefixed(shapes: dict, prefix: str) -> dict:
    return {prefix + name: shape for name, shape in shapes.items()}


def lavila(gate: bool = False, seed: int = 0) -> Tensors:
    """A TimeSformer and CLIP's text encoder, as LaViLa's training script holds them."""
    shapes = _prefixed(video_shapes(gate=gate), "visual.") | clip_text_shapes()
    shapes |= {"image_projection": (WIDTH, JOINT), "logit_scale": ()}
    return random(_prefixed(shapes, "module."), seed)


def lavila_distilbert(seed: int = 0) -> Tensors:
    """The same with DistilBERT."""
    shapes = _prefixed(video_shapes(), "visual.") | _prefixed(distilbert_shapes(), "textual.")
    shapes |= {"image_projection": (WIDTH, JOINT), "text_projection": (TEXT_WIDTH, JOINT)}
    return random(_prefixed(shapes | {"logit_scale": ()}, "module."), seed)


def egovlp(frames: int = 16, seed: int = 0) -> Tensors:
    """A TimeSformer and DistilBERT by the names of EgoVLP."""
    shapes = _prefixed(video_shapes(frames, clip=False), "video_model.")
    shapes |= _prefixed(distilbert_shapes(), "text_model.")
    linear(shapes, "txt_proj.1", TEXT_WIDTH, JOINT)
    linear(shapes, "vid_proj.0", WIDTH, JOINT)
    return random(_prefixed(shapes, "module."), seed)


def converted_by_lavila(tensors: Tensors) -> Tensors:
    """EgoVLP in half precision under the names that LaViLa's script gives it."""
    spellings = {
        "module.video_model": "module.visual",
        "module.text_model": "module.textual",
        "module.txt_proj": "module.text_projection",
        "module.vid_proj": "module.image_projection",
    }
    found = {}
    for name, tensor in tensors.items():
        for theirs, ours in spellings.items():
            name = name.replace(theirs, ours)
        found[name] = tensor.half()
    return found


def egovlpv2(small: bool = False, seed: int = 0) -> Tensors:
    """A TimeSformer and RoBERTa with the layers that fuse them and their heads."""
    shapes = _prefixed(video_shapes(clip=False), "video_model.")
    for layer in range(LAYERS // 2, LAYERS):
        block = f"video_model.blocks.{layer}.attn"
        linear(shapes, f"{block}.qkv_text_i2t", TEXT_WIDTH, 2 * WIDTH)
        linear(shapes, f"{block}.qkv_i2t", WIDTH, WIDTH)
        linear(shapes, f"{block}.proj_i2t", WIDTH, WIDTH)
        shapes[f"{block}.alpha_i2t"] = (1,)
        norm(shapes, f"{block}.norm_i2t_i", WIDTH)
    shapes |= _prefixed(roberta_shapes(), "text_model.")
    for part, width in (("txt_proj", TEXT_WIDTH), ("vid_proj", WIDTH)):
        if small:
            linear(shapes, f"{part}.{int(part == 'txt_proj')}", width, JOINT)
        else:
            shapes[f"{part}.0.weight"] = (40, width)
            linear(shapes, f"{part}.2", 40, 40)
            linear(shapes, f"{part}.4", 40, JOINT)
    shapes["cls_token"] = (1, 1, WIDTH)
    norm(shapes, "norm", WIDTH)
    for part in ("cross_modal_text_transform", "cross_modal_video_transform"):
        linear(shapes, part, WIDTH, WIDTH)
    for part in ("cross_modal_text_pooler.dense", "cross_modal_video_pooler.dense"):
        linear(shapes, part, WIDTH, WIDTH)
    linear(shapes, "itm_score.fc", 2 * WIDTH, 2)
    shapes["mlm_score.bias"] = (30,)
    linear(shapes, "mlm_score.transform.dense", WIDTH, WIDTH)
    return random(_prefixed(shapes, "module."), seed)


def video(
    tensors: Tensors,
    frames: torch.Tensor,
    *,
    quick: bool,
    eps: float,
    mean: list[float],
    std: list[float],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The class token (D,) and patch tokens (T, L, D) of a clip uint8 (T, H, W, 3), in float64.

    Attention is computed token by token, over the tokens that the recipe lets it see.

    Args:
        tensors: of the video encoder, without prefix.
        frames: of the clip.
        quick: whether activations are QuickGELU.
        eps: of the blocks' norms.
        mean: by color, of pixels in [0, 1].
        std: by color, of pixels in [0, 1].
    """
    weights = {name: tensor.double() for name, tensor in tensors.items()}
    pixels = (frames.double() / 255 - torch.tensor(mean)) / torch.tensor(std)
    count, side = len(frames), SIDE // PATCH

    def normed(name: str, token: torch.Tensor, eps: float = eps) -> torch.Tensor:
        centered = token - token.mean()
        scaled = centered / ((centered**2).mean() + eps).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def mapped(name: str, token: torch.Tensor) -> torch.Tensor:
        return weights[f"{name}.weight"] @ token + weights[f"{name}.bias"]

    # Tokens by (time, place); the class token has the key None.
    tokens = {None: weights["cls_token"][0, 0] + weights["pos_embed"][0, 0]}
    for time in range(count):
        for row in range(side):
            for column in range(side):
                patch = pixels[
                    time,
                    row * PATCH : (row + 1) * PATCH,
                    column * PATCH : (column + 1) * PATCH,
                ]
                token = torch.einsum("dcyx,yxc->d", weights["patch_embed.proj.weight"], patch)
                if "patch_embed.proj.bias" in weights:
                    token = token + weights["patch_embed.proj.bias"]
                place = row * side + column
                tokens[time, place] = (
                    token + weights["pos_embed"][0, 1 + place] + weights["temporal_embed"][0, time]
                )
    if "ln_pre.weight" in weights:
        tokens = {key: normed("ln_pre", token, 1e-5) for key, token in tokens.items()}

    def attended(name: str, tokens: dict, group: int) -> dict:
        """Each patch sees the class token and those that share its time (0) or place (1)."""
        parts = {key: mapped(f"{name}.qkv", token).chunk(3) for key, token in tokens.items()}
        found = {}
        for key in tokens:
            seen = [
                other
                for other in tokens
                if key is None or other is None or other[group] == key[group]
            ]
            heads = []
            for head in range(HEADS):
                part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
                scores = torch.stack([parts[key][0][part] @ parts[o][1][part] for o in seen])
                shares = (scores / math.sqrt(WIDTH // HEADS)).softmax(0)
                heads.append(
                    sum(share * parts[o][2][part] for share, o in zip(shares, seen, strict=True))
                )
            found[key] = mapped(f"{name}.proj", torch.cat(heads))
        return found

    for layer in range(LAYERS):
        block = f"blocks.{layer}"
        over_time = attended(
            f"{block}.timeattn", {k: normed(f"{block}.norm3", t) for k, t in tokens.items()}, 1
        )
        if f"{block}.alpha_timeattn" in weights:
            gate = weights[f"{block}.alpha_timeattn"].tanh()
            over_time = {key: gate * token for key, token in over_time.items()}
        between = {key: tokens[key] + over_time[key] for key in tokens}
        over_space = attended(
            f"{block}.attn", {k: normed(f"{block}.norm1", t) for k, t in between.items()}, 0
        )
        for key in tokens:
            token = tokens[key] + over_space[key]
            hidden = mapped(f"{block}.mlp.fc1", normed(f"{block}.norm2", token))
            if quick:
                hidden = hidden * (1.702 * hidden).sigmoid()
            else:
                hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
            tokens[key] = token + mapped(f"{block}.mlp.fc2", hidden)
    final = {key: normed("norm", token) for key, token in tokens.items()}
    patches = [torch.stack([final[t, p] for p in range(PLACES)]) for t in range(count)]
    return final[None], torch.stack(patches)


def _norm(weights: Tensors, name: str, tokens: torch.Tensor, eps: float) -> torch.Tensor:
    centered = tokens - tokens.mean(-1, keepdim=True)
    scaled = centered / ((centered**2).mean(-1, keepdim=True) + eps).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _map(weights: Tensors, name: str, tokens: torch.Tensor) -> torch.Tensor:
    return tokens @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    """One head, which is all that these text encoders have."""
    scores = q @ k.T / math.sqrt(q.shape[-1])
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
    return scores.softmax(-1) @ v


def clip_text(tensors: Tensors, ids: torch.Tensor) -> torch.Tensor:
    """CLIP's embedding (J,) of ids (n,) that end with the end mark, without padding."""
    weights = {name: tensor.double() for name, tensor in tensors.items()}
    tokens = weights["token_embedding.weight"][ids]
    tokens = tokens + weights["positional_embedding"][: len(ids)]
    for layer in range(TEXT_LAYERS):
        block = f"transformer.resblocks.{layer}"
        seen = _norm(weights, f"{block}.ln_1", tokens, 1e-5)
        q, k, v = (
            seen @ weights[f"{block}.attn.in_proj_weight"].T + weights[f"{block}.attn.in_proj_bias"]
        ).chunk(3, dim=-1)
        tokens = tokens + _map(weights, f"{block}.attn.out_proj", _attend(q, k, v, causal=True))
        hidden = _map(weights, f"{block}.mlp.c_fc", _norm(weights, f"{block}.ln_2", tokens, 1e-5))
        hidden = hidden * (1.702 * hidden).sigmoid()
        tokens = tokens + _map(weights, f"{block}.mlp.c_proj", hidden)
    return _norm(weights, "ln_final", tokens, 1e-5)[-1] @ weights["text_projection"]


def distilbert_text(tensors: Tensors, ids: torch.Tensor) -> torch.Tensor:
    """DistilBERT's first token (D,) of ids (n,) without padding."""
    weights = {name: tensor.double() for name, tensor in tensors.items()}
    tokens = weights["embeddings.word_embeddings.weight"][ids]
    tokens = tokens + weights["embeddings.position_embeddings.weight"][: len(ids)]
    tokens = _norm(weights, "embeddings.LayerNorm", tokens, 1e-12)
    for layer in range(TEXT_LAYERS):
        block = f"transformer.layer.{layer}"
        q, k, v = (_map(weights, f"{block}.attention.{part}_lin", tokens) for part in "qkv")
        attended = _map(weights, f"{block}.attention.out_lin", _attend(q, k, v, causal=False))
        tokens = _norm(weights, f"{block}.sa_layer_norm", tokens + attended, 1e-12)
        hidden = functional.gelu(_map(weights, f"{block}.ffn.lin1", tokens))
        hidden = _map(weights, f"{block}.ffn.lin2", hidden)
        tokens = _norm(weights, f"{block}.output_layer_norm", tokens + hidden, 1e-12)
    return tokens[0]


def roberta_text(tensors: Tensors, ids: torch.Tensor) -> torch.Tensor:
    """RoBERTa's first token (D,) of ids (n,) without padding; places count from 2."""
    weights = {name: tensor.double() for name, tensor in tensors.items()}
    tokens = weights["embeddings.word_embeddings.weight"][ids]
    tokens = tokens + weights["embeddings.position_embeddings.weight"][2 : 2 + len(ids)]
    tokens = tokens + weights["embeddings.token_type_embeddings.weight"][0]
    tokens = _norm(weights, "embeddings.LayerNorm", tokens, 1e-5)
    for layer in range(TEXT_LAYERS):
        block = f"encoder.layer.{layer}"
        q, k, v = (
            _map(weights, f"{block}.attention.self.{part}", tokens)
            for part in ("query", "key", "value")
        )
        attended = _map(weights, f"{block}.attention.output.dense", _attend(q, k, v, causal=False))
        tokens = _norm(weights, f"{block}.attention.output.LayerNorm", tokens + attended, 1e-5)
        hidden = functional.gelu(_map(weights, f"{block}.intermediate.dense", tokens))
        hidden = _map(weights, f"{block}.output.dense", hidden)
        tokens = _norm(weights, f"{block}.output.LayerNorm", tokens + hidden, 1e-5)
    return tokens[0]


def below(tensors: Tensors, prefix: str) -> Tensors:
    """Tensors with a prefix, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
