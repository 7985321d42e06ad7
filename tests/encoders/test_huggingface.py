"""Models of transformers, tiny and random, saved to disk as the hub holds them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from egodtm_robot.core.errors import (
    CheckpointMismatchError,
    EncoderInputError,
    EncoderOptionError,
    UnknownNameError,
    WeightsError,
)
from egodtm_robot.core.published_models.preprocessing import Preprocessing
from egodtm_robot.encoders import make_encoder
from egodtm_robot.encoders.huggingface import HuggingFaceEncoder

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
DECODER = {
    "decoder_hidden_size": 32,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,
}
PROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 36},
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "image_mean": [0.48, 0.45, 0.40],
    "image_std": [0.27, 0.26, 0.28],
    "resample": 3,
}
# What the hub's checkpoints hold is more than the vision tower: text, decoders, classifiers.
MODELS = {
    "clip": lambda: transformers.CLIPModel(
        transformers.CLIPConfig(vision_config=TINY, text_config=TEXT, projection_dim=16)
    ),
    "siglip": lambda: transformers.SiglipModel(
        transformers.SiglipConfig(vision_config=TINY, text_config=TEXT)
    ),
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**TINY)),
    "registers": lambda: transformers.Dinov2WithRegistersModel(
        transformers.Dinov2WithRegistersConfig(**TINY)
    ),
    "dinov3": lambda: transformers.DINOv3ViTModel(
        transformers.DINOv3ViTConfig(**TINY, num_register_tokens=3)
    ),
    "vit_mae": lambda: transformers.ViTMAEForPreTraining(
        transformers.ViTMAEConfig(**TINY, **DECODER)
    ),
    "vit": lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**TINY)),
    "videomae": lambda: transformers.VideoMAEForVideoClassification(
        transformers.VideoMAEConfig(**TINY, num_frames=4)
    ),
    "resnet": lambda: transformers.ResNetModel(
        transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 32], depths=[1, 1], layer_type="basic"
        )
    ),
}


CONVNEXT = {"hidden_sizes": [8, 8, 16, 32], "depths": [1, 1, 1, 1], "image_size": 64}


def save(folder: Path, kind: str) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        MODELS[kind]().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return str(folder)


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    return lambda kind: save(tmp_path / kind, kind)


def windows(count: int, history: int, size: int = 40, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, history, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_models_give_tokens_on_their_grid_and_a_global_one(kind: str, saved: Any):
    path = saved(kind)
    encoder = make_encoder({"name": "huggingface", "model": path, "grid": None, "batch_size": 2})
    assert encoder.history == (4 if kind == "videomae" else 1)
    assert encoder.grid == (4, 4)
    images = windows(3, encoder.history)
    tokens = encoder.encode(images)
    assert tokens.shape == (3, 16, 32)
    np.testing.assert_array_equal(tokens, encoder.encode(images))
    # Rows do not depend on neighbors, however many there are.
    np.testing.assert_allclose(encoder.encode(images[2:]), tokens[2:], atol=1e-6)
    assert np.abs(tokens[0] - tokens[1]).max() > 1e-4
    one = HuggingFaceEncoder(path, output="class")
    assert one.encode(images).shape == (3, 1, 32)
    assert one.grid is None
    pooled = HuggingFaceEncoder(path, grid=2)
    blocks = tokens.reshape(3, 2, 2, 2, 2, 32).mean(axis=(2, 4)).reshape(3, 4, 32)
    np.testing.assert_allclose(pooled.encode(images), blocks, atol=1e-5)
    assert len({encoder.fingerprint, one.fingerprint, pooled.fingerprint}) == 3


def test_tokens_are_those_of_the_model_itself(saved: Any):
    path = saved("clip")
    encoder = HuggingFaceEncoder(path)
    images = windows(2, 1)
    processor = CLIPImageProcessorPil.from_pretrained(path)
    pixels = processor([Image.fromarray(i[0]) for i in images], return_tensors="pt")
    model = transformers.CLIPModel.from_pretrained(path).eval()
    with torch.inference_mode():
        expected = model.vision_model(**pixels)
    # PIL computes the same filter in fixed point and may round to the next gray level.
    patches = expected.last_hidden_state[:, 1:]
    np.testing.assert_allclose(encoder.encode(images), patches, atol=0.02)
    found = HuggingFaceEncoder(path, output="class").encode(images)
    np.testing.assert_allclose(found[:, 0], expected.pooler_output, atol=0.02)


@pytest.mark.parametrize(
    ("kind", "tower", "feature"),
    [
        ("clip", "vision_model", "pooler_output"),
        ("siglip", "vision_model", "pooler_output"),
        ("dinov2", None, "pooler_output"),
        ("registers", None, "pooler_output"),
        ("dinov3", None, "pooler_output"),
        ("vit", "vit", "class token"),
        ("resnet", None, "pooler_output"),
    ],
)
def test_class_and_patches_are_those_that_transformers_calls_so(
    kind: str, tower: str | None, feature: str, saved: Any
):
    path = saved(kind)
    images = windows(2, 1, size=32)
    with torch.no_grad():
        whole = type(MODELS[kind]()).from_pretrained(path).eval()
        # As after training: a norm makes a difference.
        for module in whole.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.add_(0.5 * torch.randn_like(module.weight))
                module.bias.add_(0.5 * torch.randn_like(module.bias))
        whole.save_pretrained(path)
    classes = HuggingFaceEncoder(path, output="class", resolution=32)
    pixels = classes._preprocessing(torch.from_numpy(images[:, 0]))
    with torch.inference_mode():
        model = whole if tower is None else getattr(whole, tower)
        outputs = model(pixel_values=pixels)
    hidden = outputs.last_hidden_state
    expected = hidden[:, 0] if feature == "class token" else outputs[feature].flatten(1)
    np.testing.assert_allclose(classes.encode(images)[:, 0], expected, atol=1e-5)
    patches = HuggingFaceEncoder(path, resolution=32).encode(images)
    tokens = hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden[:, -16:]
    np.testing.assert_allclose(patches, tokens, atol=1e-5)


def test_only_the_class_token_of_clip_has_another_code_version(saved: Any):
    versions = {
        (kind, output): HuggingFaceEncoder(saved(kind), output=output).code_version
        for kind in ("clip", "dinov2")
        for output in ("grid", "class")
    }
    assert versions.pop(("clip", "class")) == 2
    assert set(versions.values()) == {1}


@pytest.mark.parametrize("shape", [(40, 40), (48, 64), (64, 48), (20, 30)])
def test_preprocessing_equals_the_models_own_processor(shape: tuple[int, int]):
    smooth = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(smooth).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    expected = CLIPImageProcessorPil(**PROCESSOR)(image, return_tensors="np")["pixel_values"]
    ours = Preprocessing.from_processor(PROCESSOR, (32, 32), None)
    found = ours(torch.from_numpy(np.asarray(image).copy())[None])
    one_gray_level = 1 / 255 / min(PROCESSOR["image_std"])  # type: ignore[type-var]
    np.testing.assert_allclose(found.numpy(), expected, atol=1.01 * one_gray_level)


def test_dinov3_convnext_gives_its_map_and_its_mean(tmp_path: Path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.DINOv3ConvNextModel(transformers.DINOv3ConvNextConfig(**CONVNEXT))
        for norm in (m for m in model.modules() if "LayerNorm" in type(m).__name__):
            torch.nn.init.normal_(norm.weight, 1.0, 0.5)
        model.eval().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    config = {"name": "dinov3", "model": str(tmp_path), "resolution": 64}
    images = windows(2, 1, size=64)
    tokens = make_encoder({**config, "grid": None})
    pixels = tokens._preprocessing(torch.from_numpy(images[:, 0]))  # type: ignore[attr-defined]
    with torch.inference_mode():
        expected = model(pixel_values=pixels).last_hidden_state  # the mean, then four cells
    assert (tokens.name, tokens.grid) == ("dinov3", (2, 2))
    np.testing.assert_allclose(tokens.encode(images), expected[:, 1:], atol=1e-5)
    one = make_encoder({**config, "output": "class"})
    np.testing.assert_allclose(one.encode(images), expected[:, :1], atol=1e-5)


def test_siglip_2_of_any_shape_is_refused_by_name(tmp_path: Path):
    sizes = {key: value for key, value in TINY.items() if key != "image_size"}
    for config in (
        transformers.Siglip2Config(vision_config=sizes, text_config=TEXT),
        transformers.Siglip2VisionConfig(**sizes),
    ):
        config.save_pretrained(tmp_path)
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        with pytest.raises(EncoderOptionError, match="fixed size.*NaFlex"):
            make_encoder({"name": "siglip2", "model": str(tmp_path)})


def test_masked_autoencoders_see_every_patch_in_its_place(saved: Any):
    encoder = HuggingFaceEncoder(saved("vit_mae"), resolution=32)
    gray = np.full((1, 1, 32, 32, 3), 120, dtype=np.uint8)
    marked = gray.copy()
    marked[:, :, 8:16, 24:32] = 255  # second row, fourth column: token 7
    change = np.abs(encoder.encode(marked) - encoder.encode(gray)).mean(axis=(0, 2))
    assert change.argmax() == 7


def test_resolution_changes_the_grid_and_layer_the_tokens(saved: Any):
    path = saved("dinov2")
    assert HuggingFaceEncoder(path, resolution=48).grid == (6, 6)
    images = windows(2, 1)
    last, earlier = HuggingFaceEncoder(path), HuggingFaceEncoder(path, layer=-2)
    assert np.abs(last.encode(images) - earlier.encode(images)).max() > 1e-3
    assert last.fingerprint != earlier.fingerprint
    with pytest.raises(EncoderOptionError, match="layer from -3 to 2"):
        HuggingFaceEncoder(path, layer=7)
    with pytest.raises(EncoderOptionError, match="layer=null"):
        HuggingFaceEncoder(path, layer=1, output="class")
    with pytest.raises(UnknownNameError, match="grid, class"):
        HuggingFaceEncoder(path, output="mean")  # type: ignore[arg-type]


def test_weights_and_preprocessing_are_part_of_the_fingerprint(saved: Any):
    path = Path(saved("vit"))
    before = HuggingFaceEncoder(str(path)).fingerprint
    assert HuggingFaceEncoder(str(path)).fingerprint == before
    tensors = load_file(path / "model.safetensors")
    name = next(name for name in tensors if "query" in name and name.endswith("weight"))
    tensors[name][0, 0] += 1e-3
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    changed = HuggingFaceEncoder(str(path)).fingerprint
    assert changed != before
    (path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | {"resample": 2}))
    assert HuggingFaceEncoder(str(path)).fingerprint not in (before, changed)


@pytest.mark.parametrize("damage", ["missing", "deeper", "shape"])
def test_a_checkpoint_that_does_not_match_its_configuration_is_refused(saved: Any, damage: str):
    path = Path(saved("clip"))
    tensors = load_file(path / "model.safetensors")
    layer = "vision_model.encoder.layers.1.mlp.fc1.bias"
    if damage == "missing":
        del tensors[layer]
    elif damage == "deeper":
        tensors[layer.replace(".1.", ".2.")] = tensors[layer].clone()
    else:
        tensors[layer] = torch.zeros(5)
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    before = torch.get_rng_state()
    with pytest.raises(CheckpointMismatchError, match=r"1 tensors .*CLIPVisionModel") as error:
        HuggingFaceEncoder(str(path))
    assert "encoder.layers" in str(error.value)
    assert torch.equal(before, torch.get_rng_state())


def test_a_pickle_that_runs_code_is_refused(saved: Any, tmp_path: Path):
    path = Path(saved("vit"))
    (path / "model.safetensors").unlink()
    witness = tmp_path / "executed"

    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (witness,)

    torch.save({"embeddings": Hostile()}, path / "pytorch_model.bin")
    with pytest.raises(WeightsError):
        HuggingFaceEncoder(str(path))
    assert not witness.exists()


def test_what_is_not_there_or_not_readable_is_named(saved: Any, tmp_path: Path):
    with pytest.raises(WeightsError, match="hub id, or a folder"):
        HuggingFaceEncoder(str(tmp_path / "nothing"))
    path = Path(saved("vit"))
    (path / "preprocessor_config.json").unlink()
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json"):
        HuggingFaceEncoder(str(path))
    path = Path(saved("dinov2"))
    (path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError):
        HuggingFaceEncoder(str(path))


def test_video_models_ask_for_whole_windows(saved: Any):
    path = saved("videomae")
    with pytest.raises(EncoderInputError, match=r"\(B, 4, H, W, 3\)"):
        HuggingFaceEncoder(path).encode(windows(1, 1))
    with pytest.raises(EncoderOptionError, match="resolution=null"):
        HuggingFaceEncoder(path, resolution=48)


def test_random_vit_comes_from_its_seed_alone():
    before = torch.get_rng_state()
    first, again, other = (make_encoder({"name": "vit_tiny_random", "seed": s}) for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert (first.grid, first.num_tokens, first.dimension) == ((7, 7), 49, 192)
    images = windows(2, 1, size=112)
    tokens = first.encode(images)
    np.testing.assert_array_equal(tokens, again.encode(images))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert np.abs(tokens - other.encode(images)).max() > 0.1
    assert np.isfinite(tokens).all()
    assert tokens.std(axis=0).mean() > 1e-3, "images must make a difference"
