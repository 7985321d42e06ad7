"""The colors of patches beside a stem's features."""

import sys
from pathlib import Path

import pytest
import torch

from egodtm_robot.core.errors import CheckpointMismatchError, ConfigurationError
from egodtm_robot.encoders.egodtm import EgoDTMEncoder
from pretrain.checkpoints import save_checkpoint, start_from
from pretrain.model import EgoDTM, EgoDTMConfig
from pretrain.model.configuration import VisionConfig
from pretrain.model.patch_colors import PatchColors

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from imagenet_weights import needs_weights
from tiny_model import tiny_config


def with_stem(patch_colors: bool = False) -> EgoDTMConfig:
    config = tiny_config()
    config.vision.stem = "efficientnet_lite0"
    config.vision.patch_colors = patch_colors
    return config


def frames(count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 2, 32, 32, 3), dtype=torch.uint8, generator=generator)


def test_each_cell_of_a_patch_has_a_place_of_its_own_for_each_color():
    colors = PatchColors(width=48)
    torch.nn.init.eye_(colors.weight)
    clip = torch.full((1, 1, 32, 48, 3), 128, dtype=torch.uint8)
    clip[0, 0, 16 + 4 : 16 + 8, 32 + 12 :, 1] = 255  # second row and last column of the last patch
    shown = colors(clip)[0, 0].unflatten(1, (4, 4, 3))
    assert shown.shape == (6, 4, 4, 3)
    expected = torch.full((6, 4, 4, 3), (128 - 127.5) / 64)
    expected[5, 1, 3, 1] = (255 - 127.5) / 64
    torch.testing.assert_close(shown, expected)


@needs_weights
def test_a_training_begins_with_what_its_initial_checkpoint_gives_and_learns_colors(tmp_path: Path):
    path = tmp_path / "colorless.safetensors"
    before = EgoDTM(with_stem(), seed=0)
    save_checkpoint(path, before, {})
    model = EgoDTM(with_stem(patch_colors=True), seed=1)
    assert start_from(model, str(path)) == ["visual.patch_colors.weight"]
    found = model.encode_video(frames())
    torch.testing.assert_close(found.embedding, before.encode_video(frames()).embedding)
    found.embedding[:, 0].sum().backward()
    assert model.visual.patch_colors.weight.grad.abs().max() > 0
    # And not back: the blocks have learned with them.
    colored = tmp_path / "colored.safetensors"
    save_checkpoint(colored, model, {})
    with pytest.raises(CheckpointMismatchError, match="model.vision.patch_colors=true"):
        start_from(before, str(colored))


@needs_weights
def test_colors_change_what_the_blocks_give_and_not_what_the_stem_gives(tmp_path: Path):
    model = EgoDTM(with_stem(patch_colors=True), seed=0)
    paths = {}
    for name in ("without", "with"):
        paths[name] = str(tmp_path / f"{name}.safetensors")
        save_checkpoint(Path(paths[name]), model, {})
        torch.nn.init.normal_(model.visual.patch_colors.weight, generator=torch.Generator())
    images = frames().numpy()

    def outputs(output: str):
        encoders = [EgoDTMEncoder(paths[n], output=output, history=2) for n in ("without", "with")]
        return [e.fingerprint for e in encoders], [e.encode(images) for e in encoders]

    (one, other), (seen, colored) = outputs("patches")
    assert one != other
    assert abs(seen - colored).max() > 1e-3
    (one, other), (seen, colored) = outputs("stem")
    assert one == other
    assert (seen == colored).all()
    # Nor is the encoder another one for a model without colors.
    save_checkpoint(tmp_path / "none.safetensors", EgoDTM(with_stem(), seed=0), {})
    path = str(tmp_path / "none.safetensors")
    assert EgoDTMEncoder(path, output="stem", history=2).fingerprint == one


def test_pixels_show_their_colors_already():
    with pytest.raises(ConfigurationError, match="patch_colors=false for the stem pixels"):
        VisionConfig(patch_colors=True)
