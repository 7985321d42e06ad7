"""Published checkpoints by their names, on models so small that nothing need be fetched."""

import argparse
import re
import sys
from pathlib import Path

import pytest
import torch

from egodtm_robot.core.errors import CheckpointMismatchError, WeightsError
from pretrain.checkpoints import initialize_from, load_published, our_names
from pretrain.model import EgoDTM

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from tiny_model import tiny_config

Tensors = dict[str, torch.Tensor]

_PLAIN = [
    (r"\.(attn|self_attn)\.Wqkv\.(weight|bias)$", r".\1.in_proj_\2"),
    (r"(resblocks\.\d+)\.mlp\.fc1\.", r"\1.mlp.c_fc."),
    (r"(resblocks\.\d+)\.mlp\.fc2\.", r"\1.mlp.c_proj."),
    (r"(ffn_layers\.\d+)\.mlp\.fc([12])\.", r"\1.linear\2."),
]


@pytest.fixture
def source() -> EgoDTM:
    """A model with a full table of ids, as published ones have it."""
    config = tiny_config()
    config.text.token_width = None
    config.text.vocabulary = 100
    model = EgoDTM(config, seed=1)
    torch.nn.init.normal_(model.visual.temporal_embedding, generator=torch.Generator())
    return model


def spelt_plainly(tensors: Tensors) -> Tensors:
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in _PLAIN:
            name = re.sub(pattern, replacement, name)
        if name == "visual.conv1.weight":
            tensor = tensor.unflatten(1, (3, 16, 16))
        renamed[name] = tensor
    return renamed


def as_egodtm(tensors: Tensors, flash: bool) -> Tensors:
    named = tensors if flash else spelt_plainly(tensors)
    published = {"vtm_head.weight": torch.zeros(2, 512), "vtm_head.bias": torch.zeros(2)}
    for name, tensor in named.items():
        if name.startswith("depth_decoder."):
            name = name.removeprefix("depth_decoder.")
        elif name != "image_projection":
            name = f"backbone.{name}"
        published[name] = tensor
    return {f"module.{name}": tensor for name, tensor in published.items()}


def as_avion(tensors: Tensors, flash: bool) -> Tensors:
    """The projections lie inside the encoders, and there is no decoder."""
    named = tensors if flash else spelt_plainly(tensors)
    renamed = {
        name.replace("image_projection", "visual.image_projection"): tensor
        for name, tensor in named.items()
        if not name.startswith("depth_decoder.")
    }
    return {f"module.{name}": tensor for name, tensor in renamed.items()}


def as_lavila(tensors: Tensors) -> Tensors:
    """The text encoder lies at the top, and time has no embedding."""
    return {
        f"module.{name.removeprefix('textual.')}": tensor
        for name, tensor in spelt_plainly(tensors).items()
        if not name.startswith("depth_decoder.") and "temporal" not in name
    }


def as_openai(tensors: Tensors) -> Tensors:
    named = {
        name.removeprefix("module."): tensor.half() for name, tensor in as_lavila(tensors).items()
    }
    named["visual.proj"] = named.pop("image_projection")
    named |= {key: torch.tensor(1) for key in ("input_resolution", "context_length", "vocab_size")}
    return named


FAMILIES = {
    "egodtm, flash": lambda tensors: as_egodtm(tensors, True),
    "egodtm, plain": lambda tensors: as_egodtm(tensors, False),
    "avion, flash": lambda tensors: as_avion(tensors, True),
    "avion, plain": lambda tensors: as_avion(tensors, False),
    "lavila": as_lavila,
    "openai": as_openai,
}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_published_names_load_tensor_by_tensor(family: str, source: EgoDTM, tmp_path: Path):
    published = FAMILIES[family](source.state_dict())
    path = tmp_path / "published.pt"
    torch.save({"epoch": 3, "state_dict": published, "args": argparse.Namespace(lr=1e-3)}, path)
    model = EgoDTM(source.config, seed=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = load_published(model, path)
    if family.startswith("egodtm"):
        assert kept == []
    else:
        assert any(name.startswith("depth_decoder.") for name in kept)
        timeless = family in ("lavila", "openai")
        assert ("visual.temporal_embedding" in kept) == timeless
        assert all(name.startswith("depth_decoder.") or "temporal" in name for name in kept)
    for name, tensor in model.state_dict().items():
        if name in kept and "temporal" in name:
            assert not tensor.any()  # weights of pictures know no time
        elif name in kept:
            assert torch.equal(tensor, before[name])
        elif name != "logit_scale":
            expected = source.state_dict()[name]
            expected = expected.half().float() if family == "openai" else expected
            torch.testing.assert_close(tensor, expected, atol=0, rtol=0)


def test_another_joint_space_keeps_the_models_own_projections(source: EgoDTM):
    config = tiny_config()
    config.text = source.config.text
    config.joint_width = 24
    model = EgoDTM(config, seed=2)
    kept = initialize_from(model, our_names(as_openai(source.state_dict())), "clip")
    assert {"image_projection", "textual.text_projection"} <= set(kept)


def test_embeddings_of_place_and_time_are_resampled(source: EgoDTM):
    config = tiny_config()
    config.text = source.config.text
    config.vision.frames = 8
    config.vision.image_size = 64
    model = EgoDTM(config, seed=2)
    initialize_from(model, our_names(source.state_dict()), "here")
    frames = torch.randint(0, 256, (1, 8, 64, 64, 3), dtype=torch.uint8)
    # The same function as interpolating in the forward pass.
    torch.testing.assert_close(
        model.encode_video(frames).embedding, source.encode_video(frames).embedding
    )


@pytest.mark.parametrize("damage", ["missing", "surplus", "shape", "half a decoder"])
def test_what_does_not_match_is_listed_and_nothing_loaded(damage: str, source: EgoDTM):
    published = as_egodtm(source.state_dict(), True)
    block = "module.backbone.visual.transformer.resblocks.1"
    if damage == "missing":
        del published[f"{block}.ln_1.bias"]
    elif damage == "surplus":
        published[f"{block.replace('.1', '.2')}.ln_1.bias"] = torch.zeros(32)
    elif damage == "shape":
        published[f"{block}.ln_1.bias"] = torch.zeros(33)
    else:
        del published["module.mask_features.bias"]
    model = EgoDTM(source.config, seed=2)
    before = model.visual.conv1.weight.clone()
    with pytest.raises(CheckpointMismatchError, match=r"1 tensors of there"):
        initialize_from(model, our_names(published), "there")
    assert torch.equal(model.visual.conv1.weight, before)


def test_a_timesformer_is_refused_by_name(source: EgoDTM):
    tensors = {"module.visual.blocks.0.timeattn.qkv.weight": torch.zeros(1)}
    with pytest.raises(CheckpointMismatchError, match="TimeSformer"):
        initialize_from(source, our_names(tensors), "lavila_tsf.pt")


def test_a_pickle_that_runs_code_is_refused(source: EgoDTM, tmp_path: Path):
    witness = tmp_path / "executed"

    class Hostile:
        def __reduce__(self) -> object:
            return Path.touch, (witness,)

    torch.save({"state_dict": source.state_dict(), "args": Hostile()}, tmp_path / "hostile.pt")
    with pytest.raises(WeightsError, match="Nothing in it was executed"):
        load_published(source, tmp_path / "hostile.pt")
    assert not witness.exists()
