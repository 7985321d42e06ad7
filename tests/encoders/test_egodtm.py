"""EgoDTM behind the encoder interface, with a tiny random checkpoint."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from egodtm_robot.core.errors import (
    CheckpointError,
    EncoderInputError,
    EncoderOptionError,
    UnknownNameError,
    WeightsError,
)
from egodtm_robot.encoders import make_encoder
from egodtm_robot.encoders.efficientnet import EfficientNetLite0Encoder
from egodtm_robot.encoders.egodtm import EgoDTMEncoder
from pretrain.checkpoints import load_checkpoint, save_checkpoint, shipped
from pretrain.clips.synthetic import SyntheticClipConfig, SyntheticClips
from pretrain.losses.looks import look_share
from pretrain.model import EgoDTM

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from imagenet_weights import needs_weights
from tiny_model import tiny_config

OUTPUTS = {"patches": (4, 32), "class": (1, 32), "depth": (4, 9), "embedding": (1, 16)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    model = EgoDTM(tiny_config(), seed=0)
    # As after training: time makes a difference.
    torch.nn.init.normal_(model.visual.temporal_embedding, generator=torch.Generator())
    save_checkpoint(path, model, {})
    return str(path)


def windows(count: int, history: int = 1, size: int = 40, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, history, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("output", sorted(OUTPUTS))
@pytest.mark.parametrize("history", [1, 4])
def test_every_output_has_its_shape_and_sees_images(checkpoint: str, output: str, history: int):
    encoder = make_encoder(
        {"name": "egodtm", "checkpoint": checkpoint, "output": output, "history": history}
    )
    images = windows(3, history)
    features = encoder.encode(images)
    tokens, dimension = OUTPUTS[output]
    assert features.shape == (3, tokens, dimension) == (3, encoder.num_tokens, encoder.dimension)
    assert encoder.grid == ((2, 2) if tokens == 4 else None)
    assert np.isfinite(features).all()
    assert np.abs(features[0] - features[1]).max() > 1e-3
    np.testing.assert_array_equal(features, encoder.encode(images))
    # A row alone, as in a rollout, equals the row that was cached with others.
    np.testing.assert_allclose(encoder.encode(images[2:]), features[2:], atol=1e-5)


def test_features_are_those_of_the_model(checkpoint: str):
    model = EgoDTM(tiny_config(), seed=0).eval()
    torch.nn.init.normal_(model.visual.temporal_embedding, generator=torch.Generator())
    images = windows(2, 4, size=32)
    with torch.inference_mode():
        video = model.encode_video(torch.from_numpy(images))
        depth = model.decode_depth(video.patch_tokens)
    expected = {
        "patches": video.patch_tokens[:, -1],
        "class": video.class_token[:, None],
        "embedding": video.embedding[:, None],
        "depth": torch.cat([depth.mask_features[:, -1], depth.predictions[-1].depth[:, -1:]], dim=1)
        .unflatten(2, (2, 4))
        .unflatten(4, (2, 4))
        .mean(dim=(3, 5))
        .flatten(2)
        .transpose(1, 2),
    }
    for output, tokens in expected.items():
        encoder = EgoDTMEncoder(checkpoint, output=output, history=4)  # type: ignore[arg-type]
        np.testing.assert_allclose(encoder.encode(images), tokens, atol=1e-5)


def test_patches_of_an_early_layer_are_those_of_its_block(checkpoint: str):
    model, _ = load_checkpoint(Path(checkpoint))
    images = windows(2, 4, size=32)
    seen = []
    with torch.inference_mode():
        model.visual.transformer.resblocks[0].register_forward_hook(
            lambda module, inputs, output: seen.append(output)
        )
        model.encode_video(torch.from_numpy(images))
    tokens = seen[0][:, 1:].unflatten(1, (4, -1))[:, -1]
    expected = (tokens - tokens.mean(-1, keepdim=True)) / tokens.std(-1, correction=0, keepdim=True)
    found = EgoDTMEncoder(checkpoint, layer=1, history=4).encode(images)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    blocks = model.config.vision.layers
    for options in ({"layer": 0}, {"layer": blocks + 1}, {"layer": 1, "output": "class"}):
        with pytest.raises(EncoderOptionError, match=f"layer from 1 to {blocks}"):
            EgoDTMEncoder(checkpoint, **options)  # type: ignore[arg-type]


@needs_weights
def test_the_stem_gives_what_the_backbone_of_its_weights_gives(tmp_path: Path):
    config = tiny_config()
    config.vision.stem = "efficientnet_lite0"
    path = tmp_path / "stem.safetensors"
    model = EgoDTM(config, seed=None).to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    model.visual.stem.load_imagenet()
    save_checkpoint(path, model, {})
    images = windows(2, 3, size=64)
    encoder = EgoDTMEncoder(str(path), output="stem", history=3, resolution=64)
    assert (encoder.grid, encoder.dimension) == ((4, 4), 152)
    assert EgoDTMEncoder(str(path), history=3, resolution=64).fingerprint == encoder.fingerprint
    assert EgoDTMEncoder(str(path), layer=1).dimension == config.vision.width
    backbone = EfficientNetLite0Encoder(grid=4)
    np.testing.assert_allclose(encoder.encode(images), backbone.encode(images[:, -1:]), atol=1e-4)


def test_a_model_of_pixels_has_no_stem_to_give(checkpoint: str):
    with pytest.raises(EncoderOptionError, match="output=patches"):
        EgoDTMEncoder(checkpoint, output="stem")
    default = EgoDTMEncoder(checkpoint).fingerprint
    assert default == EgoDTMEncoder(checkpoint, output="patches").fingerprint


def test_earlier_frames_of_a_window_count(checkpoint: str):
    encoder = EgoDTMEncoder(checkpoint, history=4)
    images = windows(1, 4)
    other = images.copy()
    other[:, 0] = 255 - other[:, 0]
    assert np.abs(encoder.encode(images) - encoder.encode(other)).max() > 1e-3


def test_resolution_and_grid_set_the_tokens(checkpoint: str):
    assert EgoDTMEncoder(checkpoint, resolution=64).grid == (4, 4)
    fine = EgoDTMEncoder(checkpoint, output="depth", grid=8)
    assert fine.encode(windows(1)).shape == (1, 64, 9)
    with pytest.raises(EncoderOptionError, match="multiple of the patches' 16 pixels"):
        EgoDTMEncoder(checkpoint, resolution=50)


def test_weights_and_options_are_part_of_the_fingerprint(checkpoint: str, tmp_path: Path):
    base = EgoDTMEncoder(checkpoint).fingerprint
    assert EgoDTMEncoder(checkpoint, batch_size=2).fingerprint == base
    others = [
        EgoDTMEncoder(checkpoint, output="class").fingerprint,
        EgoDTMEncoder(checkpoint, history=4).fingerprint,
        EgoDTMEncoder(checkpoint, layer=1).fingerprint,
        EgoDTMEncoder(checkpoint, resolution=64, grid=2).fingerprint,
    ]
    save_checkpoint(tmp_path / "other.safetensors", EgoDTM(tiny_config(), seed=1), {})
    others.append(EgoDTMEncoder(str(tmp_path / "other.safetensors")).fingerprint)
    assert len({base, *others}) == 6


def test_without_the_shipped_checkpoint_the_command_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shipped, "ASSETS", Path("nowhere"))
    with pytest.raises(WeightsError, match=r"pretrain/run\.py"):
        make_encoder("egodtm")


def test_wrong_options_and_images_are_refused_by_name(checkpoint: str, tmp_path: Path):
    with pytest.raises(UnknownNameError, match="Did you mean 'patches'"):
        EgoDTMEncoder(checkpoint, output="patch")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="found no file"):
        EgoDTMEncoder(str(tmp_path / "none.safetensors"))
    with pytest.raises(EncoderInputError, match=r"\(B, 4, H, W, 3\)"):
        EgoDTMEncoder(checkpoint, history=4).encode(windows(1))


def test_the_shipped_checkpoint_is_small_says_what_it_is_and_sees():
    path = shipped.shipped_checkpoint()
    assert path.stat().st_size <= 32e6
    _, card = load_checkpoint(path)
    assert card["made_by"].startswith("torchrun")
    # What it has to show on scenes of its own: 40 times chance, 60 % and 0.90.
    for direction in ("text_to_video", "video_to_text"):
        found = card["test"]["retrieval"][direction]
        assert found["r1"] >= 40 * found["chance_r1"]
    assert card["test"]["multiple_choice"]["accuracy"] >= 0.6
    assert card["test"]["depth"]["delta1"] >= 0.9
    encoder = make_encoder("egodtm")
    features = encoder.encode(windows(2, size=112))
    assert features.shape == (2, 64, 152)
    assert np.abs(features[0] - features[1]).max() > 0.1


def test_the_checkpoint_of_looks_keeps_the_texts_and_gives_less_to_the_look():
    tiny, _ = load_checkpoint(shipped.shipped_checkpoint())
    path = shipped.shipped_checkpoint(shipped.LOOKS_NAME)
    looks, card = load_checkpoint(path)
    assert path.stat().st_size <= 12e6
    assert "objective=looks" in card["made_by"]
    assert card["training"]["text_rate"] == card["training"]["stem_rate"] == 0
    before, after = tiny.state_dict(), looks.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"visual", "image_projection", "depth_decoder"}
    for direction in ("text_to_video", "video_to_text"):
        assert card["test"]["retrieval"][direction]["r1"] >= 0.6
    assert card["test"]["multiple_choice"]["accuracy"] >= 0.84
    assert card["test"]["depth"]["delta1"] >= 0.91
    # The blocks make up for paints that the stem sees past.
    assert looks.visual.patch_colors.weight.abs().max() > 0.01
    clips = SyntheticClips(SyntheticClipConfig(resolution=128, dense=["looks"]), "validation")
    drawn = [clips.render(seed) for seed in range(6)]
    clips.close()
    frames, others = (
        torch.from_numpy(np.stack([getattr(clip, kind) for clip in drawn]))
        for kind in ("frames", "looks")
    )
    shares = []
    for model in (tiny, looks):
        with torch.no_grad():
            own, other = (model.visual.stem.features(one) for one in (frames, others))
        shares.append(look_share(own, other).item())
    assert shares[1] < 0.6 * shares[0]


def test_a_shipped_checkpoint_is_chosen_by_its_name():
    named = EgoDTMEncoder(shipped.LOOKS_NAME)
    assert make_encoder("egodtm_looks").fingerprint == named.fingerprint
    assert named.fingerprint != make_encoder("egodtm").fingerprint
    assert shipped.named_checkpoint("runs/mine.safetensors") == "runs/mine.safetensors"
