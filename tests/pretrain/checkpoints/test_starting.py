"""What a pretraining may start from, by name."""

import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers

from egodtm_robot.core.errors import CheckpointError, CheckpointMismatchError, WeightsError
from pretrain.checkpoints import load_checkpoint, save_checkpoint, start_from
from pretrain.checkpoints.shipped import shipped_checkpoint
from pretrain.model import EgoDTM, EgoDTMConfig, TextConfig, VisionConfig

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from tiny_model import tiny_config


def same(model: EgoDTM, other: EgoDTM, without: tuple[str, ...] = ()) -> bool:
    theirs = other.state_dict()
    return all(
        torch.equal(tensor, theirs[name])
        for name, tensor in model.state_dict().items()
        if not name.startswith(without or ("-",))
    )


def test_the_checkpoint_of_the_package_goes_by_its_name():
    shipped, _ = load_checkpoint(shipped_checkpoint())
    model = EgoDTM(shipped.config, seed=None).to_empty(device="cpu")
    assert start_from(model, "egodtm_tiny") == []
    assert same(model, shipped, ("logit_scale",))


def test_a_decoder_that_the_checkpoint_lacks_stays_and_one_too_many_is_left_out(tmp_path: Path):
    plain, regions = EgoDTM(tiny_config(), seed=1), EgoDTM(tiny_config(regions=True), seed=2)
    save_checkpoint(tmp_path / "plain.safetensors", plain, {})
    save_checkpoint(tmp_path / "regions.safetensors", regions, {})

    model = EgoDTM(tiny_config(regions=True), seed=3)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    lacking = start_from(model, str(tmp_path / "plain.safetensors"))
    assert lacking
    assert all(name.startswith("region_decoder.") for name in lacking)
    assert same(model, EgoDTM(tiny_config(regions=True), seed=1), ("region_decoder.",))
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in lacking)

    model = EgoDTM(tiny_config(), seed=3)
    assert start_from(model, str(tmp_path / "regions.safetensors")) == []
    assert same(model, EgoDTM(tiny_config(), seed=2))


def test_a_model_of_other_sizes_is_refused_and_not_touched(tmp_path: Path):
    save_checkpoint(tmp_path / "one.safetensors", EgoDTM(tiny_config(), seed=1), {})
    config = tiny_config()
    config.vision.width = 64
    model = EgoDTM(config, seed=3)
    with pytest.raises(CheckpointMismatchError, match=r"visual\.conv1\.weight"):
        start_from(model, str(tmp_path / "one.safetensors"))
    assert same(model, EgoDTM(config, seed=3))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_published_weights_start_a_model_without_a_card(tmp_path: Path, suffix: str):
    source = EgoDTM(tiny_config(), seed=1)
    tensors = {f"module.{name}": t for name, t in source.state_dict().items()}
    path = tmp_path / f"published{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": tensors}, path)
    else:
        safetensors.torch.save_file(tensors, path)
    model = EgoDTM(tiny_config(), seed=3)
    assert start_from(model, str(path)) == []
    assert same(model, source)


def test_clip_of_hugging_face_starts_both_encoders(tmp_path: Path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    theirs = transformers.CLIPModel(
        transformers.CLIPConfig(
            vision_config={**sizes, "intermediate_size": 48, "image_size": 32, "patch_size": 16},
            text_config={**sizes, "intermediate_size": 48, "vocab_size": 64},
            projection_dim=16,
        )
    )
    theirs.save_pretrained(tmp_path)
    vision = {"width": 32, "layers": 1, "heads": 2, "feed_forward": 48}
    config = EgoDTMConfig(
        joint_width=16,
        vision=VisionConfig(image_size=64, frames=4, **vision),
        text=TextConfig(vocabulary=64, **vision),
    )
    model = EgoDTM(config, seed=0)
    lacking = start_from(model, str(tmp_path))
    assert "visual.temporal_embedding" in lacking
    patches = theirs.vision_model.embeddings.patch_embedding.weight.flatten(1)
    torch.testing.assert_close(model.visual.conv1.weight, patches)
    torch.testing.assert_close(model.image_projection, theirs.visual_projection.weight.T)


def test_what_is_not_there_is_named(tmp_path: Path):
    model = EgoDTM(tiny_config(), seed=0)
    with pytest.raises(CheckpointError, match=r"found no file.*egodtm_tiny"):
        start_from(model, str(tmp_path / "none.safetensors"))
    with pytest.raises(WeightsError, match="a hub id, or a folder"):
        start_from(model, str(tmp_path))
