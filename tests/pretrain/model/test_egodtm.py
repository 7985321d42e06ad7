"""The model: shapes at any size, determinism, mixed precision, compilation, memory saved."""

import os
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from egodtm_robot.core.configuration import from_mapping, from_yaml
from egodtm_robot.core.errors import ConfigurationError, ModelInputError, UnknownNameError
from pretrain.model import (
    DepthDecoderConfig,
    EgoDTM,
    EgoDTMConfig,
    RegionDecoderConfig,
    TextConfig,
    VisionConfig,
)
from pretrain.model.depth_decoder import bin_centers
from pretrain.model.layers import CrossAttention, SelfAttention
from pretrain.model.tokenizer import tokenize

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from tiny_model import tiny_config

FAKES = Path(__file__).parents[2] / "fakes"


def clips(count: int = 2, frames: int = 4, height: int = 32, width: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(
        0, 256, (count, frames, height, width, 3), generator=generator, dtype=torch.uint8
    )


def texts() -> torch.Tensor:
    return tokenize(["a cat", "#C C picks up the red mug with the left hand"])


@pytest.fixture(scope="module")
def model() -> EgoDTM:
    made = EgoDTM(tiny_config(regions=True), seed=0)
    # As after training: time makes a difference.
    torch.nn.init.normal_(made.visual.temporal_embedding, generator=torch.Generator())
    return made


@pytest.mark.parametrize(
    ("frames", "height", "width"), [(4, 32, 32), (1, 32, 32), (7, 16, 48), (2, 64, 32)]
)
def test_any_number_of_frames_and_resolution_is_a_clip(
    model: EgoDTM, frames: int, height: int, width: int
):
    out = model(clips(2, frames, height, width), texts(), depth=True, regions=True)
    rows, columns = height // 16, width // 16
    assert out.video.grid == (rows, columns)
    assert out.video.class_token.shape == (2, 32)
    assert out.video.patch_tokens.shape == (2, frames, rows * columns, 32)
    assert out.text is not None
    for embedding in (out.video.embedding, out.text):
        assert embedding.shape == (2, 16)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    assert out.logit_scale.item() == pytest.approx(1 / 0.07)
    assert out.depths is not None
    assert len(out.depths) == 3
    for layer in out.depths:
        assert layer.depth.shape == (2, frames, 4 * rows, 4 * columns)
        assert 0 <= layer.depth.min() <= layer.depth.max() <= 1
        assert layer.centers.shape == (2, 4)
    assert out.boxes is not None
    assert len(out.boxes) == 2
    for boxes in out.boxes:
        assert boxes.boxes.shape == (2, frames, 5, 4)
        assert (boxes.boxes[..., 2:] > boxes.boxes[..., :2]).all()
        assert boxes.presence.shape == (2, frames, 5)


def test_what_is_not_asked_for_is_not_computed(model: EgoDTM):
    out = model(clips(), depth=False)
    assert (out.text, out.depths, out.boxes) == (None, None, None)
    with pytest.raises(ConfigurationError, match=r"region_decoder\.enabled=true"):
        EgoDTM(tiny_config())(clips(), regions=True)


def test_weights_come_from_the_seed_alone():
    before = torch.get_rng_state()
    first, again, other = (EgoDTM(tiny_config(), seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["visual.conv1.weight"], other["visual.conv1.weight"])
    assert all(tensor.isfinite().all() for tensor in first.values())


def test_every_frame_and_every_patch_counts(model: EgoDTM):
    frames = clips(1)
    base = model.encode_video(frames)
    for frame in range(4):
        changed = frames.clone()
        changed[:, frame, :16, 16:] = 255 - changed[:, frame, :16, 16:]  # the second patch
        found = model.encode_video(changed)
        difference = (found.patch_tokens - base.patch_tokens).abs().mean(dim=-1)[0]
        assert difference.flatten().argmax() == frame * 4 + 1
        assert (found.embedding - base.embedding).abs().max() > 1e-5
    swapped = model.encode_video(frames[:, [1, 0, 2, 3]])
    assert (swapped.embedding - base.embedding).abs().max() > 1e-5, "the order of frames counts"


def test_patches_are_what_a_convolution_sees():
    visual = EgoDTM(tiny_config()).visual
    frames = clips(2, 3)
    patches, _ = visual.patches(frames)
    kernel = visual.conv1.weight.unflatten(1, (3, 16, 16))
    mean, std = (torch.tensor(v)[:, None, None] for v in (visual.config.mean, visual.config.std))
    pixels = (frames.flatten(0, 1).permute(0, 3, 1, 2) / 255 - mean) / std
    expected = functional.conv2d(pixels, kernel, stride=16).flatten(2).transpose(1, 2)
    torch.testing.assert_close(visual.conv1(patches).flatten(0, 1), expected, atol=1e-5, rtol=1e-5)


def test_what_lies_behind_the_end_of_a_text_is_hidden_if_asked_for():
    hiding, seeing = (EgoDTM(tiny_config()) for _ in range(2))
    seeing.textual.config = TextConfig(**{**vars(seeing.textual.config), "mask_padding": False})
    tokens = texts()
    noisy = tokens.clone()
    noisy[0, 60] = 7
    torch.testing.assert_close(hiding.encode_text(noisy), hiding.encode_text(tokens))
    # Alone or beside a longer text, a text is the same.
    torch.testing.assert_close(hiding.encode_text(tokens[:1]), hiding.encode_text(tokens)[:1])
    assert (seeing.encode_text(noisy) - seeing.encode_text(tokens)).abs().max() > 1e-4


def test_causal_texts_need_no_hiding_of_what_lies_behind_their_end():
    config = tiny_config()
    config.text.layers = 2  # in one layer the end sees all tokens either way
    causal, both_ways = EgoDTM(config), EgoDTM(config)
    found = []
    for mask_padding in (True, False):
        causal.textual.config = TextConfig(
            **{**vars(causal.textual.config), "mask_padding": mask_padding, "causal": True}
        )
        found.append(causal.encode_text(texts()))
    torch.testing.assert_close(*found)
    assert (found[0] - both_ways.encode_text(texts())).abs().max() > 1e-5


def test_attention_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    queries, memory = torch.randn(2, 3, 5, 8, generator=generator)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    cross, own = CrossAttention(8, 2), SelfAttention(8, 2)
    with torch.no_grad():
        torch.nn.init.normal_(theirs.in_proj_bias, generator=generator)
        cross.load_state_dict(theirs.state_dict())
        own.Wqkv.weight.copy_(theirs.in_proj_weight)
        own.Wqkv.bias.copy_(theirs.in_proj_bias)
        own.out_proj.load_state_dict(theirs.out_proj.state_dict())
        expected = theirs(queries, memory, memory)[0]
        torch.testing.assert_close(cross(queries, memory), expected, atol=1e-5, rtol=1e-5)
        expected = theirs(queries, queries, queries)[0]
        torch.testing.assert_close(own(queries), expected, atol=1e-5, rtol=1e-5)


def test_bins_divide_the_unit_interval():
    centers = bin_centers(torch.tensor([[0.0, 0.0, 0.0, 0.0], [-5.0, 0.9, -1.0, 0.9]]))
    torch.testing.assert_close(centers[0], torch.tensor([0.125, 0.375, 0.625, 0.875]))
    widths = torch.tensor([0.1, 1.0, 0.1, 1.0]) / 2.2
    torch.testing.assert_close(centers[1], widths.cumsum(0) - widths / 2)


@pytest.mark.parametrize("upsampling", [2, 4])
def test_depth_can_be_learned(upsampling: int):
    """A few steps on one clip: the decoder's last layer learns a ramp that it starts far from."""
    config = tiny_config()
    config.depth_decoder.upsampling = upsampling
    small = EgoDTM(config)
    target = torch.linspace(0, 1, 2 * upsampling).expand(1, 4, 2 * upsampling, -1)
    optimizer = torch.optim.AdamW(small.depth_decoder.parameters(), lr=0.01)
    tokens = small.encode_video(clips(1)).patch_tokens.detach()
    errors = []
    for _ in range(60):
        predictions = small.decode_depth(tokens).predictions
        loss = torch.stack([functional.mse_loss(p.depth, target) for p in predictions]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(functional.mse_loss(predictions[-1].depth.detach(), target).item())
    assert errors[-1] < 0.1 * errors[0]


def gradients(model: EgoDTM) -> list[torch.Tensor]:
    out = model(clips(), texts(), depth=True, regions=True)
    assert out.text is not None
    assert out.depths is not None
    assert out.boxes is not None
    loss = (out.video.embedding * out.text).sum() + sum(d.depth.var() for d in out.depths)
    loss = loss + sum(b.boxes.var() + b.presence.var() for b in out.boxes)
    parameters = [p for p in model.parameters() if p.requires_grad]
    return list(torch.autograd.grad(loss, parameters))


def test_every_parameter_but_the_temperature_is_trained(model: EgoDTM):
    assert not model.logit_scale.requires_grad
    assert all(gradient.isfinite().all() for gradient in gradients(model))
    assert sum(bool(gradient.any()) for gradient in gradients(model)) == sum(
        parameter.requires_grad for parameter in model.parameters()
    )


def test_checkpointing_changes_no_gradient(model: EgoDTM):
    config = tiny_config(regions=True)
    config.gradient_checkpointing = True
    saving = EgoDTM(config)
    saving.load_state_dict(model.state_dict())
    for found, expected in zip(gradients(saving), gradients(model), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mask_padding", [False, True])
def test_it_compiles_once_with_the_same_outputs_and_gradients(mask_padding: bool):
    config = tiny_config(regions=True)
    config.text.mask_padding = mask_padding
    model = EgoDTM(config)
    graphs = []

    def traced(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        graphs.append(graph)
        # Forward and backward as for any backend; inductor's own C++ takes minutes.
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    compiled = torch.compile(model, backend=traced)
    for words in (texts(), tokenize(["a", "the red mug and many more words than before"])):
        expected, found = model(clips(), words), compiled(clips(), words)
        torch.testing.assert_close(found.text, expected.text)
        torch.testing.assert_close(found.depths[-1].depth, expected.depths[-1].depth)
    assert len(graphs) == 1, "a break in the graph, or another one for texts of another length"
    for one, other in zip(gradients(compiled), gradients(model), strict=True):
        torch.testing.assert_close(one, other)


MIXED = """
import sys, torch
sys.path.append(sys.argv[1])
from tiny_model import tiny_config
from pretrain.model import EgoDTM
from pretrain.model.tokenizer import tokenize

model = EgoDTM(tiny_config(regions=True))
frames = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
tokens = tokenize(["a cat", "the red mug"])
exact = model(frames, tokens, regions=True)
for dtype in (torch.bfloat16, torch.float16):
    with torch.autocast("cpu", dtype=dtype):
        out = model(frames, tokens, regions=True)
    assert out.video.patch_tokens.dtype in (dtype, torch.float32)
    for found, expected in (
        (out.video.embedding, exact.video.embedding),
        (out.text, exact.text),
        (out.depths[-1].depth, exact.depths[-1].depth),
        (out.boxes[-1].boxes, exact.boxes[-1].boxes),
    ):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, atol=0.05, rtol=0)
    (out.video.embedding * out.text).sum().backward()
    out = None
assert all(p.grad.isfinite().all() for p in model.visual.parameters())
"""


def test_mixed_precision_keeps_outputs_in_single_precision():
    """In a process of its own: virtual machines may announce AMX that they do not let one use."""
    process = subprocess.run(
        [sys.executable, "-c", MIXED, str(FAKES)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_FP16"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr


def read_config(name: str) -> EgoDTMConfig:
    text = (resources.files("configs") / "model" / f"{name}.yaml").read_text(encoding="utf-8")
    return from_yaml(EgoDTMConfig, text)


def test_the_shipped_configurations_keep_their_promises():
    base, tiny = read_config("egodtm_base"), read_config("egodtm_tiny")
    assert base == EgoDTMConfig()
    model = EgoDTM(tiny, seed=None)
    assert sum(p.numel() for p in model.visual.parameters()) <= 7_000_000
    # In half precision the checkpoint with all towers must stay below 32 MB.
    assert 2 * sum(p.numel() for p in model.parameters()) <= 32_000_000
    assert (tiny.vision.image_size, tiny.vision.frames, tiny.text.vocabulary) == (128, 4, 49408)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(2, 4, 32, 32, 3), "uint8"),
        (torch.zeros((2, 32, 32, 3), dtype=torch.uint8), r"\(B, T, H, W, 3\)"),
        (torch.zeros((2, 4, 3, 32, 32), dtype=torch.uint8), r"\(B, T, H, W, 3\)"),
        (torch.zeros((2, 4, 30, 32, 3), dtype=torch.uint8), "multiples of the patch size 16"),
        (torch.zeros((2, 0, 32, 32, 3), dtype=torch.uint8), "at least one frame"),
    ],
)
def test_clips_of_another_form_are_refused(model: EgoDTM, frames: torch.Tensor, message: str):
    with pytest.raises(ModelInputError, match=message):
        model.encode_video(frames)


def test_texts_and_grids_of_another_form_are_refused(model: EgoDTM):
    with pytest.raises(ModelInputError, match=r"tokenize"):
        model.encode_text(texts()[:, :50])
    with pytest.raises(ModelInputError, match="3 rows and 2 columns"):
        model.decode_depth(torch.zeros(1, 1, 4, 32), (3, 2))


def test_sizes_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigurationError, match="multiple of its heads"):
        VisionConfig(width=30, heads=4)
    with pytest.raises(ConfigurationError, match="multiple of patch_size"):
        VisionConfig(image_size=100)
    with pytest.raises(UnknownNameError, match="quick_gelu"):
        from_mapping(TextConfig, {"activation": "quickgelu"})
    with pytest.raises(UnknownNameError, match="2, 4"):
        from_mapping(DepthDecoderConfig, {"upsampling": 3})
    with pytest.raises(ConfigurationError, match="0 to 5"):
        RegionDecoderConfig(objects=6)
