"""Depth annotators: what they store, and what transformers' models' numbers become."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

from egodtm_robot.core.errors import (
    CheckpointError,
    CheckpointMismatchError,
    ConfigurationError,
    UnknownNameError,
    WeightsError,
)
from pretrain.annotate.depth.base import depth_from_disparity, to_grid
from pretrain.annotate.depth.egodtm import EgoDTMDepth
from pretrain.annotate.depth.huggingface import DepthPreprocessing, HuggingFaceDepth
from pretrain.annotate.depth.truth import TrueDepth
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.annotate.stage import AnnotationFailure
from pretrain.checkpoints import save_checkpoint
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.evaluate.depth import depth_scores
from pretrain.model import EgoDTM
from pretrain.model.configuration import (
    DepthDecoderConfig,
    EgoDTMConfig,
    TextConfig,
    VisionConfig,
)

DINO = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
    "out_indices": [1, 2, 3, 4],
    "reshape_hidden_states": False,
    "apply_layernorm": True,
}
NECK = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "head_hidden_size": 8}
PROCESSOR = {
    "do_resize": True,
    "size": {"height": 28, "width": 28},
    "keep_aspect_ratio": True,
    "ensure_multiple_of": 14,
    "resample": 3,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def depth_anything(**options: Any) -> Any:
    config = transformers.DepthAnythingConfig(
        backbone_config=transformers.Dinov2Config(**DINO),
        reassemble_hidden_size=32,
        patch_size=14,
        **NECK,
        **options,
    )
    return transformers.DepthAnythingForDepthEstimation(config)


def dpt() -> Any:
    config = transformers.DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    return transformers.DPTForDepthEstimation(config)


def glpn() -> Any:
    config = transformers.GLPNConfig(
        num_encoder_blocks=4,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        mlp_ratios=[1, 1, 1, 1],
        decoder_hidden_size=8,
        max_depth=7,
    )
    return transformers.GLPNForDepthEstimation(config)


MODELS = {
    "depth_anything": depth_anything,
    "metric": lambda: depth_anything(depth_estimation_type="metric", max_depth=20),
    "dpt": dpt,
    "glpn": glpn,
}


OWN_PROCESSORS: dict[str, dict[str, Any]] = {
    "glpn": {"do_resize": True, "size_divisor": 32},
    # DPT with a plain ViT takes squares alone.
    "dpt": {**PROCESSOR, "size": {"height": 32, "width": 32}, "keep_aspect_ratio": False},
}


def save(folder: Path, kind: str, processor: dict[str, Any] | None = None) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        MODELS[kind]().save_pretrained(folder)
    content = PROCESSOR if processor is None else processor
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return str(folder)


def clip(size: tuple[int, int] = (40, 40), frames: int = 2, seed: int = 0) -> AnnotatedClip:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    return AnnotatedClip("k", pixels, np.arange(frames) * 1.0, "#C C cuts", "s", "made", "none")


# -- grids and disparity ---------------------------------------------------------------------


def test_a_cell_is_the_mean_of_what_is_known_in_it():
    depth = np.array([[[1.0, 3.0, 5.0, np.nan], [1.0, np.nan, np.inf, -1.0]]], np.float32)
    depth = np.repeat(depth, 2, axis=1)[:, :4]
    found = to_grid(depth, 2)
    assert found.shape == (1, 2, 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, 0, 0], 2.0)  # 1, 3, 1, 3
    assert np.isnan(found[0, 1, 1])  # nothing but inf and negative numbers
    np.testing.assert_allclose(found[0, 1, 0], 1.0)  # half of it is known


@pytest.mark.parametrize("inversion", ["reciprocal", "flip"])
def test_disparity_of_any_scale_becomes_depth_in_the_same_order(inversion: Any):
    random = np.random.default_rng(0)
    depth = random.uniform(0.3, 3, (2, 9, 9))
    found = depth_from_disparity(7 / depth - 3, inversion, 0.1)
    inside = (depth > np.quantile(depth, 0.02)) & (depth < np.quantile(depth, 0.98))
    order = np.argsort(depth[inside])
    assert (np.diff(found[inside][order]) > 0).all()
    assert found.min() >= 0
    assert found.max() <= 1
    again = depth_from_disparity(100 / depth + 40, inversion, 0.1)
    np.testing.assert_allclose(found, again, atol=1e-5)


def test_the_reciprocal_restores_depth_where_the_near_share_is_right():
    depth = np.linspace(0.2, 2, 400).reshape(1, 20, 20)  # nearest is a tenth of the farthest
    reciprocal = depth_from_disparity(5 / depth + 2, "reciprocal", 0.1)
    flip = depth_from_disparity(5 / depth + 2, "flip")
    assert depth_scores(reciprocal, depth)[1] < 0.05
    assert depth_scores(flip, depth)[1] > 3 * depth_scores(reciprocal, depth)[1]


def test_unknown_disparity_stays_unknown_and_flat_disparity_is_finite():
    disparity = np.ones((1, 4, 4))
    disparity[0, 0, 0] = np.nan
    found = depth_from_disparity(disparity)
    assert np.isnan(found[0, 0, 0])
    assert np.isfinite(found[0, 1:]).all()
    assert np.isnan(depth_from_disparity(np.full((1, 2, 2), np.nan))).all()
    with pytest.raises(AnnotatorOptionError, match="near_share"):
        depth_from_disparity(disparity, "reciprocal", 0)
    with pytest.raises(UnknownNameError, match="inversion"):
        depth_from_disparity(disparity, "negative")  # type: ignore[arg-type]


# -- truth and our own model -----------------------------------------------------------------


def test_true_depth_is_kept_on_the_grid_and_its_absence_is_a_failure():
    known = clip()
    known.depth = np.full((2, 8, 8), 1.5, np.float32)
    known.depth[1] = np.nan
    known.depth_kind = "metric"
    unknown = clip()
    blind = clip()
    blind.depth, blind.depth_kind = np.full((2, 8, 8), np.nan, np.float32), "metric"
    annotator = TrueDepth(size=4)
    first, second, third = annotator.annotate([known, unknown, blind])
    assert first["depth_kind"] == "metric"  # type: ignore[index]
    np.testing.assert_allclose(first["depth"][0], 1.5)  # type: ignore[index]
    assert np.isnan(first["depth"][1]).all()  # type: ignore[index]
    assert isinstance(second, AnnotationFailure)
    assert "depth" in second.reason
    assert isinstance(third, AnnotationFailure)
    assert annotator.fingerprint != TrueDepth(size=8).fingerprint
    with pytest.raises(AnnotatorOptionError, match="size"):
        TrueDepth(size=0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = EgoDTMConfig(
        vision=VisionConfig(
            image_size=32, patch_size=16, frames=2, width=16, layers=1, heads=2, feed_forward=16
        ),
        text=TextConfig(width=16, token_width=8, layers=1, heads=2, feed_forward=16),
        depth_decoder=DepthDecoderConfig(
            width=16, mask_width=8, layers=1, heads=2, feed_forward=16
        ),
    )
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, EgoDTM(config, seed=0), {})
    return path


def test_our_own_decoder_gives_relative_depth_of_any_number_of_frames(checkpoint: Path):
    annotator = EgoDTMDepth(str(checkpoint), size=4, device="cpu")
    clips = [clip((40, 40), 2), clip((32, 48), 3, seed=1)]
    first, second = annotator.annotate(clips)
    assert first["depth_kind"] == "relative"  # type: ignore[index]
    assert first["depth"].shape == (2, 4, 4)  # type: ignore[index]
    assert second["depth"].shape == (3, 4, 4)  # type: ignore[index]
    assert 0 <= second["depth"].min() <= second["depth"].max() <= 1  # type: ignore[index]
    alone = annotator.annotate(clips[1:])[0]
    np.testing.assert_array_equal(alone["depth"], second["depth"])  # type: ignore[index]
    assert annotator.fingerprint == EgoDTMDepth(str(checkpoint), size=4).fingerprint
    with pytest.raises(CheckpointError):
        EgoDTMDepth(str(checkpoint.with_name("none.safetensors")))


# -- models of transformers ------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_models_by_path_give_depth_of_their_kind(kind: str, tmp_path: Path):
    path = save(tmp_path, kind, OWN_PROCESSORS.get(kind))
    size = (70, 96) if kind == "glpn" else (40, 56)
    annotator = HuggingFaceDepth(path, size=5, device="cpu")
    clips = [clip(size), clip(size, seed=1)]
    found = annotator.annotate(clips)
    metric = kind in ("metric", "glpn")
    for one in found:
        assert one["depth_kind"] == ("metric" if metric else "relative")  # type: ignore[index]
        assert one["depth"].shape == (2, 5, 5)  # type: ignore[index]
        assert one["depth"].dtype == np.float32  # type: ignore[index]
        assert np.isfinite(one["depth"]).all()  # type: ignore[index]
        assert one["depth"].min() >= 0  # type: ignore[index]
    np.testing.assert_array_equal(
        annotator.annotate(clips[1:])[0]["depth"],  # type: ignore[index]
        found[1]["depth"],  # type: ignore[index]
    )


def test_disparity_is_turned_round(tmp_path: Path):
    path = save(tmp_path, "depth_anything")
    shown = clip()
    raw, _ = HuggingFaceDepth(path, output="relative", device="cpu").predict(shown)  # type: ignore[misc]
    depth, kind = HuggingFaceDepth(path, device="cpu").predict(shown)  # type: ignore[misc]
    assert kind == "relative"
    np.testing.assert_allclose(depth, depth_from_disparity(raw), rtol=1e-5)
    assert np.corrcoef(raw.ravel(), depth.ravel())[0, 1] < 0


def test_weights_options_and_size_are_in_the_fingerprint(tmp_path: Path):
    path = save(tmp_path / "a", "depth_anything")
    names = {
        HuggingFaceDepth(path, device="cpu").fingerprint,
        HuggingFaceDepth(path, inversion="flip", device="cpu").fingerprint,
        HuggingFaceDepth(path, output="relative", device="cpu").fingerprint,
        HuggingFaceDepth(path, size=28, device="cpu").fingerprint,
        HuggingFaceDepth(save(tmp_path / "b", "metric"), device="cpu").fingerprint,
    }
    assert len(names) == 5
    same = HuggingFaceDepth(path, batch_size=1, device="cpu").fingerprint
    assert same in names


@pytest.mark.parametrize("shape", [(40, 40), (30, 64), (64, 30)])
def test_preprocessing_equals_the_models_own_processor(shape: tuple[int, int]):
    smooth = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image = Image.fromarray(smooth).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    expected = DPTImageProcessorPil(**PROCESSOR)(image, return_tensors="np")["pixel_values"]
    ours = DepthPreprocessing.of_processor("depth_anything", PROCESSOR)
    found = ours(torch.from_numpy(np.asarray(image).copy())[None])
    assert found.shape == expected.shape
    levels = np.abs(found.numpy() - expected) * 255 * 0.224
    # Nearly all gray levels are PIL's own; its fixed-point sums round the rest another way, a level
    # in each of two passes.
    assert (levels > 0.1).mean() < 0.1
    assert levels.max() < 2.1


def test_mirrored_borders_are_cut_off_again():
    zoe = DepthPreprocessing.of_processor("zoedepth", {"size": {"height": 64, "width": 96}})
    assert zoe.reflect
    assert zoe.margins(50, 72) == (15, 18)
    frames = torch.zeros(1, 50, 72, 3, dtype=torch.uint8)
    assert tuple(zoe(frames).shape) == (1, 3, 64, 96)


def test_depth_pro_becomes_meters_by_its_angle_of_view():
    from pretrain.annotate.depth.huggingface import _depth_pro_meters

    values = torch.full((1, 2, 2), 0.5)
    found = _depth_pro_meters(values, torch.tensor([90.0]))  # as wide as twice the focal length
    torch.testing.assert_close(found, torch.full((1, 2, 2), 1.0))


def test_bad_models_are_named(tmp_path: Path):
    with pytest.raises(WeightsError, match="preprocessor_config"):
        HuggingFaceDepth(str(tmp_path / "none"))
    path = save(tmp_path / "model", "dpt", {**PROCESSOR, "do_pad": True})
    with pytest.raises(AnnotatorOptionError, match="do_pad"):
        HuggingFaceDepth(path, device="cpu")
    with pytest.raises(UnknownNameError, match="output"):
        HuggingFaceDepth(path, output="inverse")  # type: ignore[arg-type]
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="could not load"):
        HuggingFaceDepth(path, device="cpu")


def test_weights_that_lack_tensors_are_refused(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    path = save(tmp_path, "depth_anything")
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    tensors.pop("head.conv1.weight")
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(CheckpointMismatchError, match=r"missing +head.conv1.weight"):
        HuggingFaceDepth(path, device="cpu")
    with pytest.raises(ConfigurationError, match="device"):
        HuggingFaceDepth(save(tmp_path / "whole", "depth_anything"), device="gpu9")
