"""Image models as their authors publish them: every tensor lands and computes what it should."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import DistilBertConfig, DistilBertModel

from egodtm_robot.core.errors import (
    CheckpointMismatchError,
    EncoderOptionError,
    UnknownNameError,
    WeightsError,
)
from egodtm_robot.core.published_models.image_models import IMAGE_MODELS
from egodtm_robot.core.published_models.voltron import without_language_model
from egodtm_robot.encoders import encoder_config, make_encoder

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
import published_files as files
import slow_forwards as slow
from published_files import LANGUAGE, SMALL

IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
HALVES = np.array([[0.5] * 3, [0.5] * 3])


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., str]:
    """Writes what a family publishes, small and random, as the family's scripts write it."""

    def save(family: str, content: Any = None) -> str:
        return str(files.save_published(tmp_path, family, content))

    return save


def tensors_of(content: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    """The tensors of what is saved, without what stands before their names."""
    held = content[0] if isinstance(content, tuple) else content
    for key in ("r3m", "vip", "model"):
        held = held.get(key, held)
    names = {name: name.removeprefix("module.").removeprefix(prefix) for name in held}
    return {names[name]: tensor for name, tensor in held.items()}


def windows(count: int = 2, history: int = 1, size: int = 64) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, history, size, size, 3), dtype=np.uint8)


def prepared(image: np.ndarray, resize: int, crop: int, bicubic: bool, colors: np.ndarray) -> Any:
    """What torchvision's Resize, CenterCrop, ToTensor and Normalize do to an image."""
    width, height = image.shape[1], image.shape[0]
    scale = resize / min(width, height)
    size = (int(width * scale), int(height * scale))
    filtered = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    pixels = np.asarray(Image.fromarray(image).resize(size, filtered), dtype=np.float64)
    top, left = (pixels.shape[0] - crop) // 2, (pixels.shape[1] - crop) // 2
    pixels = pixels[top : top + crop, left : left + crop] / 255
    return torch.tensor(((pixels - colors[0]) / colors[1]).transpose(2, 0, 1))


def normalized(images: np.ndarray, colors: np.ndarray = IMAGENET) -> torch.Tensor:
    """Windows (N, T, H, W, 3) that need no resize -> float64 (N, T, 3, H, W)."""
    return torch.tensor(((images / 255 - colors[0]) / colors[1]).transpose(0, 1, 4, 2, 3))


def double(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t.double() if t.is_floating_point() else t for name, t in tensors.items()}


# Outputs, against forward passes that know nothing of ours. Images of the encoder's own resolution
# pass unresized, so that the comparison is exact; preprocessing is compared on its own below.


@pytest.mark.parametrize(("family", "channels", "feature"), [("r3m", 64, 64), ("vip", 256, 24)])
def test_residual_networks_equal_a_slow_forward(
    family: str, channels: int, feature: int, saved: Any
):
    path = saved(family)
    tensors = double(tensors_of(SMALL[family](), "convnet."))
    images = windows(size=96)
    maps = slow.resnet(tensors, normalized(images)[:, 0])
    tokens = make_encoder({"name": family, "checkpoint": path, "resolution": 96})
    assert (tokens.grid, tokens.dimension) == ((3, 3), channels)
    expected = maps.flatten(2).transpose(1, 2)
    assert expected.std() > 0.1
    np.testing.assert_allclose(tokens.encode(images), expected, atol=2e-5)
    one = make_encoder({"name": family, "checkpoint": path, "resolution": 96, "output": "class"})
    pooled = maps.mean(dim=(2, 3))
    if family == "vip":
        pooled = pooled @ tensors["fc.weight"].T + tensors["fc.bias"]
    assert (one.grid, one.dimension) == (None, feature)
    np.testing.assert_allclose(one.encode(images)[:, 0], pooled, atol=2e-5)


@pytest.mark.parametrize(
    ("family", "prefix", "heads", "eps"),
    [
        ("mvp", "", 12, 1e-6),
        ("vc1", "", 2, 1e-6),
        ("tobo", "", 6, 1e-6),
        ("spa", "model.img_backbone.", 2, 1e-6),
        ("theia", "backbone.model.", 3, 1e-12),
    ],
)
def test_vision_transformers_equal_a_slow_forward(
    family: str, prefix: str, heads: int, eps: float, saved: Any
):
    path = saved(family)
    tensors = double(tensors_of(SMALL[family](), prefix))
    if family == "theia":
        tensors = by_timms_names(tensors)
    side = 80 if family == "mvp" else 64
    images = windows(size=side)
    pixels = normalized(images, HALVES if family == "theia" else IMAGENET)[:, 0]
    expected = slow.vit(tensors, pixels, heads, eps)
    config = {"name": family, "checkpoint": path, "resolution": side}
    tokens = make_encoder({**config, "grid": None}).encode(images)
    np.testing.assert_allclose(tokens, expected[:, 1:], atol=2e-5)
    np.testing.assert_allclose(
        make_encoder({**config, "output": "class"}).encode(images), expected[:, :1], atol=2e-5
    )
    cells = expected[:, 1:].unflatten(1, (side // 16, side // 16))
    pooled = make_encoder({**config, "grid": 2}).encode(images)[:, 3]
    half = side // 32  # of five cells the middle one belongs to both sides
    np.testing.assert_allclose(pooled, cells[:, half:, half:].mean(dim=(1, 2)), atol=2e-5)


def by_timms_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Theia's tensors, one after the other, by the names that the slow forward takes."""
    found = {
        "cls_token": tensors["embeddings.cls_token"],
        "pos_embed": tensors["embeddings.position_embeddings"],
    }
    for part in ("weight", "bias"):
        found[f"patch_embed.proj.{part}"] = tensors[
            f"embeddings.patch_embeddings.projection.{part}"
        ]
        found[f"norm.{part}"] = tensors[f"layernorm.{part}"]
        for layer in range(2):
            theirs, ours = f"encoder.layer.{layer}", f"blocks.{layer}"
            found[f"{ours}.attn.qkv.{part}"] = torch.cat(
                [
                    tensors[f"{theirs}.attention.attention.{name}.{part}"]
                    for name in ("query", "key", "value")
                ]
            )
            found[f"{ours}.attn.proj.{part}"] = tensors[f"{theirs}.attention.output.dense.{part}"]
            found[f"{ours}.norm1.{part}"] = tensors[f"{theirs}.layernorm_before.{part}"]
            found[f"{ours}.norm2.{part}"] = tensors[f"{theirs}.layernorm_after.{part}"]
            found[f"{ours}.mlp.fc1.{part}"] = tensors[f"{theirs}.intermediate.dense.{part}"]
            found[f"{ours}.mlp.fc2.{part}"] = tensors[f"{theirs}.output.dense.{part}"]
    return found


@pytest.mark.parametrize(("frames", "generates"), [(1, False), (2, False), (2, True)])
def test_voltron_equals_a_slow_forward(frames: int, generates: bool, saved: Any):
    tensors = files.random(files.voltron(128, 2, frames, generates, 4, LANGUAGE))
    path = saved("voltron", (tensors, {"state": {}}))
    encoder = make_encoder({"name": "voltron", "checkpoint": path, "resolution": 64, "grid": None})
    assert (encoder.history, encoder.grid, encoder.dimension) == (frames, (4, 4), 128)
    words = empty_sentence(tensors)
    images = windows(history=frames, size=64)
    expected = slow.voltron(double(tensors), normalized(images), words.double())
    np.testing.assert_allclose(encoder.encode(images), expected, atol=5e-5)
    if frames == 2:
        changed = images.copy()
        changed[:, 0] //= 2
        difference = np.abs(encoder.encode(changed) - encoder.encode(images))
        assert difference.max() > 1e-3, "the earlier frame must make a difference"


def empty_sentence(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """What transformers' DistilBERT says of a start token and nineteen of padding: (20, 768)."""
    config = DistilBertConfig(vocab_size=LANGUAGE[0], n_layers=LANGUAGE[1], hidden_dim=LANGUAGE[2])
    with torch.device("meta"):
        model = DistilBertModel(config)
    model = model.to_empty(device="cpu").eval()
    own = {
        name.removeprefix("lm."): tensor
        for name, tensor in tensors.items()
        if name.startswith("lm.")
    }
    with torch.no_grad():
        model.load_state_dict(own, strict=False)
        for name, buffer in model.named_buffers():
            assert name.endswith("position_ids")
            buffer.copy_(torch.arange(buffer.shape[-1])[None])
    assert own.keys() <= model.state_dict().keys()
    ids, mask = torch.zeros(1, 20, dtype=torch.long), torch.zeros(1, 20, dtype=torch.long)
    ids[0, 0], mask[0, 0] = 101, 1
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=mask).last_hidden_state[0].clone()


# Names and shapes as published.

PUBLISHED = {
    "r3m_18": ("r3m", files.prefixed("convnet.", files.resnet((2, 2, 2, 2), False)), 11_176_512),
    "r3m_34": ("r3m", files.prefixed("convnet.", files.resnet((3, 4, 6, 3), False)), 21_284_672),
    "r3m_50": ("r3m", files.prefixed("convnet.", files.resnet((3, 4, 6, 3), True)), 23_508_032),
    "vip": (
        "vip",
        files.prefixed(
            "convnet.",
            files.resnet((3, 4, 6, 3), True) | {"fc.weight": (1024, 2048), "fc.bias": (1024,)},
        ),
        23_508_032 + 2048 * 1024 + 1024,
    ),
    "mvp_small": ("mvp", files.vit(384, 12), 21_665_664),
    "mvp_large": ("mvp", files.vit(1024, 24, grid=16), 303_363_072),
    "vc1_base": ("vc1", files.vit(768, 12) | files.mae_decoder(), 85_798_656),
    "vc1_large": ("vc1", files.vit(1024, 24) | files.mae_decoder(), 303_301_632),
    "tobo_small": ("tobo", files.vit(384, 12) | files.mae_decoder(), 21_665_664),
    "spa_base": ("spa", files.prefixed("model.img_backbone.", files.vit(768, 12)), 85_798_656),
    "theia_tiny": ("theia", files.theia(192, 12), 5_524_416),
    "theia_base": ("theia", files.theia(768, 12), 85_798_656),
    "v-cond": ("voltron", files.voltron(384, 12), None),
    "v-cond-base": ("voltron", files.voltron(768, 12), None),
    "v-gen": ("voltron", files.voltron(384, 12, 2, True), None),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_tensor_of_the_published_size_lands(
    name: str, saved: Any, monkeypatch: pytest.MonkeyPatch
):
    family, shapes, parameters = PUBLISHED[name]
    # Hundreds of megabytes of one and the same number need not be hashed.
    monkeypatch.setattr("egodtm_robot.encoders.base.hash_tensors", lambda tensors: "")
    key = {"r3m": "r3m", "vip": "vip"}.get(family, "model")
    encoder = make_encoder(
        {"name": family, "checkpoint": saved(family, {key: files.empty(shapes), "epoch": 0})}
    )
    held = {name: p.numel() for name, p in encoder.network.named_parameters()}  # type: ignore[attr-defined]
    if parameters is not None:
        assert sum(held.values()) == parameters
    else:
        lost = ("lm.", "lang", "decoder", "encoder2decoder", "mask_token", "ctx_dec", "img_dec")
        kept = {
            name: int(np.prod(size))
            for name, size in shapes.items()
            if not name.startswith((*lost, "prefix_mask"))
        }
        width = shapes["encoder_norm.g"][0]
        assert sum(held.values()) == sum(kept.values()) + 20 * width


# Preprocessing.


@pytest.mark.parametrize(
    ("family", "resize", "crop", "bicubic"),
    [
        ("r3m", 256, 224, False),
        ("vip", 256, 224, False),
        ("mvp", 224, 224, False),
        ("vc1", 256, 224, True),
        ("tobo", 256, 224, False),
        ("spa", 224, 224, True),
        ("voltron", 224, 224, False),
        ("theia", 224, 224, False),
    ],
)
@pytest.mark.parametrize("shape", [(112, 112), (224, 224), (120, 160)])
def test_images_are_prepared_as_published(
    family: str, resize: int, crop: int, bicubic: bool, shape: tuple[int, int]
):
    coarse = np.random.default_rng(1).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC))
    found = IMAGE_MODELS[family].preprocessing(224)(torch.from_numpy(image.copy())[None])[0]
    colors = HALVES if family == "theia" else IMAGENET
    if family == "theia":  # its processor squeezes the whole image into the square
        image = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR))
    expected = prepared(image, resize, crop, bicubic, colors)
    # PIL computes the same filter in fixed point: some values round to the next gray level.
    one_gray_level = 1 / 255 / colors[1].min()
    differences = np.abs(found.numpy() - expected.numpy())
    assert differences.max() < 2.1 * one_gray_level
    assert np.mean(differences > 1.1 * one_gray_level) < 0.01


def test_resolution_takes_the_whole_image_and_interpolates_positions(saved: Any):
    path = saved("vc1")
    encoder = make_encoder({"name": "vc1", "checkpoint": path, "resolution": 112, "grid": None})
    assert encoder.grid == (7, 7)
    marked = np.full((1, 1, 112, 112, 3), 120, dtype=np.uint8)
    gray = marked.copy()
    marked[:, :, :16, 96:] = 255  # the corner that a cut of the middle would lose: token 6
    change = np.abs(encoder.encode(marked) - encoder.encode(gray)).mean(axis=(0, 2))
    assert change.argmax() == 6
    with pytest.raises(EncoderOptionError, match=r"multiple of VC-1's 16 pixels.*got 120"):
        make_encoder({"name": "vc1", "checkpoint": path, "resolution": 120})


# Files.


def test_wrappers_prefixes_and_types_do_not_matter(saved: Any, tmp_path: Path):
    expected = make_encoder({"name": "r3m", "checkpoint": saved("r3m")}).fingerprint
    plain = tensors_of(SMALL["r3m"]())
    torch.save(plain, tmp_path / "plain.pt")
    torch.save((plain, {"step": 3}), tmp_path / "pair.pt")
    torch.save({"state_dict": {f"module.{n}": t for n, t in plain.items()}}, tmp_path / "held.pt")
    save_file(plain, tmp_path / "plain.safetensors")
    for name in ("plain.pt", "pair.pt", "held.pt", "plain.safetensors"):
        found = make_encoder({"name": "r3m", "checkpoint": str(tmp_path / name)})
        assert found.fingerprint == expected


def test_half_precision_is_computed_in_single(saved: Any):
    content = SMALL["vc1"]()
    content["model"] = {name: tensor.half() for name, tensor in content["model"].items()}
    encoder = make_encoder({"name": "vc1", "checkpoint": saved("vc1", content)})
    assert {p.dtype for p in encoder.network.parameters()} == {torch.float32}  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", SMALL)
def test_without_a_file_the_error_says_which_and_from_where(family: str):
    model = IMAGE_MODELS[family]
    with pytest.raises(WeightsError) as error:
        make_encoder(family)
    for part in (model.name, model.files, model.source, model.license, "encoder.checkpoint=FILE"):
        assert part in str(error.value)


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("given", SMALL)
def test_another_familys_file_is_named(family: str, given: str, saved: Any):
    if (
        family == given
        or {family, given} in ({"mvp", "vc1"},)
        or (family, given)
        in (
            ("tobo", "mvp"),  # nothing but their heads tells them apart
            ("tobo", "vc1"),
        )
    ):
        return
    with pytest.raises(CheckpointMismatchError) as error:
        make_encoder({"name": family, "checkpoint": saved(given)})
    assert f"hold {IMAGE_MODELS[family].name} " in str(error.value)
    assert f"encoder={given}" in str(error.value)


def test_files_of_video_text_models_and_of_nothing_known_are_named(saved: Any):
    for names, said in (
        ({"visual.transformer.resblocks.0.a": 1, "logit_scale": 1}, "encoder=egodtm"),
        ({"video_model.blocks.0.a": 1}, "TimeSformer"),
        ({"conv1.weight": 1, "layer1.0.conv1.weight": 1}, "torchvision"),
        ({"vit.embeddings.cls_token": 1}, "encoder=huggingface"),
        ({"a.b": 1, "c": 1}, "names such as a.b, c"),
    ):
        path = saved("r3m", {name: torch.zeros(size) for name, size in names.items()})
        with pytest.raises(CheckpointMismatchError, match=said):
            make_encoder({"name": "r3m", "checkpoint": path})


@pytest.mark.parametrize("family", SMALL)
def test_a_missing_and_a_left_over_tensor_are_named(family: str, saved: Any):
    content = SMALL[family]()
    held = content[0] if isinstance(content, tuple) else content.get("model", content)
    held = held.get(family, held)
    tensor = next(
        name
        for name in held
        if name.endswith((".attn.proj.bias", ".bn1.bias"))
        or (name.endswith("attention.output.dense.bias"))
    )
    removed = held.pop(tensor)
    inner = tensor.split(".0.")[-1]
    with pytest.raises(CheckpointMismatchError, match=r"missing .*(attn\.proj|bn1)\.bias"):
        make_encoder({"name": family, "checkpoint": saved(family, content)})
    held[tensor] = removed
    held[tensor.replace(inner, "adapter.weight")] = torch.zeros(3)
    with pytest.raises(CheckpointMismatchError, match=r"unexpected .*adapter\.weight \(3,\)"):
        make_encoder({"name": family, "checkpoint": saved(family, content)})


def test_tensors_that_tell_a_size_are_asked_for(saved: Any):
    for family, name in (("vc1", "pos_embed"), ("voltron", "lang2encoder.bias")):
        content = SMALL[family]()
        (content[0] if family == "voltron" else content["model"]).pop(name)
        with pytest.raises(CheckpointMismatchError, match=rf"tells its size.*{name}"):
            make_encoder({"name": family, "checkpoint": saved(family, content)})
    tensors = {n: t for n, t in SMALL["voltron"]()[0].items() if not n.startswith("lm.trans")}
    with pytest.raises(KeyError, match=r"transformer\.layer\.0"):
        without_language_model(tensors)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path):
    witness = tmp_path / "executed"

    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (witness,)

    content = {"r3m": tensors_of(SMALL["r3m"]()), "args": Hostile()}
    torch.save(content, tmp_path / "hostile.pt")
    with pytest.raises(WeightsError, match="Nothing in it was executed"):
        make_encoder({"name": "r3m", "checkpoint": str(tmp_path / "hostile.pt")})
    assert not witness.exists()


# What the contract of encoders asks for.


@pytest.mark.parametrize("family", SMALL)
def test_fingerprints_hang_on_weights_preprocessing_and_output(family: str, saved: Any):
    config = {"name": family, "checkpoint": saved(family)}
    first = make_encoder(config)
    assert first.name == family
    found = {first.fingerprint, make_encoder({**config, "resolution": 96}).fingerprint}
    found.add(make_encoder({**config, "grid": 1}).fingerprint)
    if family != "voltron":
        found.add(make_encoder({**config, "output": "class"}).fingerprint)
    content = SMALL[family]()
    held = content[0] if isinstance(content, tuple) else content.get("model", content)
    held = held.get(family, held)
    next(t for n, t in held.items() if n.endswith(("bias", "g"))).add_(1e-3)
    assert make_encoder({**config, "batch_size": 3}).fingerprint == first.fingerprint
    found.add(make_encoder({**config, "checkpoint": saved(family, content)}).fingerprint)
    assert len(found) == (4 if family == "voltron" else 5)


def test_families_of_one_file_have_fingerprints_of_their_own(saved: Any):
    path = saved("mvp")
    assert (
        len(
            {
                make_encoder({"name": n, "checkpoint": path}).fingerprint
                for n in ("mvp", "tobo", "vc1")
            }
        )
        == 3
    )


@pytest.mark.parametrize("family", ["r3m", "vc1", "voltron"])
def test_a_row_does_not_depend_on_the_others(family: str, saved: Any):
    encoder = make_encoder(
        {"name": family, "checkpoint": saved(family), "resolution": 64, "batch_size": 2}
    )
    images = windows(3, size=80)
    together = encoder.encode(images)
    np.testing.assert_allclose(encoder.encode(images[2:]), together[2:], atol=1e-5)


def test_options_are_named_and_checked(saved: Any):
    assert "output" not in encoder_config("voltron")
    with pytest.raises(UnknownNameError, match="grid, class"):
        make_encoder({"name": "r3m", "checkpoint": saved("r3m"), "output": "mean"})
    with pytest.raises(UnknownNameError, match="'family'|family"):
        make_encoder({"name": "vc1", "family": "vc2"})
