"""Our own checkpoints: whole and matching, or refused."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from egodtm_robot.core.errors import CheckpointError, CheckpointMismatchError, UnknownNameError
from pretrain.checkpoints import files, load_card, load_checkpoint, save_checkpoint, shipped
from pretrain.model import EgoDTM

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from tiny_model import tiny_config


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, EgoDTM(tiny_config(regions=True), seed=3), {"steps": 7})
    return path


def rewrite(path: Path, **changes: object) -> None:
    """Change the card, and make it agree with the weights as they are."""
    card = json.loads(path.with_suffix(".json").read_text()) | changes
    card["weights_sha256"] = files.hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card))


def test_what_is_read_is_what_was_written(saved: Path):
    model, card = load_checkpoint(saved)
    original = EgoDTM(tiny_config(regions=True), seed=3)
    assert model.config == original.config
    assert card["steps"] == 7
    assert card["parameters"] == sum(p.numel() for p in original.parameters())
    assert not model.training
    assert not model.logit_scale.requires_grad
    assert model.image_projection.requires_grad
    found = model.state_dict()
    for name, tensor in original.state_dict().items():
        assert torch.equal(found[name], tensor)
    assert load_card(saved) == card


def test_half_precision_halves_the_file_and_reads_as_single(saved: Path, tmp_path: Path):
    half = tmp_path / "half.safetensors"
    save_checkpoint(half, EgoDTM(tiny_config(regions=True), seed=3), {}, dtype=torch.float16)
    assert half.stat().st_size < 0.6 * saved.stat().st_size
    model, card = load_checkpoint(half)
    assert card["dtype"] == "float16"
    expected, _ = load_checkpoint(saved)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, expected.state_dict()[name], atol=1e-3, rtol=1e-3)


def test_every_tensor_that_does_not_match_is_listed(saved: Path):
    tensors = load_file(saved)
    del tensors["visual.class_embedding"]
    tensors["surplus"] = torch.zeros(2)
    tensors["image_projection"] = torch.zeros(3, 4)
    save_file(tensors, saved)
    rewrite(saved)
    with pytest.raises(CheckpointMismatchError) as error:
        load_checkpoint(saved)
    for part in (
        "3 tensors",
        "missing    visual.class_embedding (32,)",
        "unexpected surplus (2,)",
        "image_projection: expected (32, 16), got (3, 4)",
    ):
        assert part in str(error.value)


def test_a_card_that_claims_a_huge_model_takes_no_memory(saved: Path):
    card = load_card(saved)
    card["model"]["vision"]["layers"] = 20
    card["model"]["vision"]["width"] = 2**15
    rewrite(saved, model=card["model"])
    with pytest.raises(CheckpointMismatchError):
        load_checkpoint(saved)


def test_weights_of_another_write_are_refused(saved: Path):
    damaged = bytearray(saved.read_bytes())
    damaged[-1] ^= 1
    saved.write_bytes(bytes(damaged))
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "could not read"),
        ("not json", "to be JSON"),
        ("[]", "hold the keys"),
        ('{"format": 1}', "hold the keys"),
    ],
)
def test_cards_that_are_none_are_named(saved: Path, content: str | None, message: str):
    card = saved.with_suffix(".json")
    card.unlink()
    if content is not None:
        card.write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved)


def test_other_formats_and_configurations_are_named(saved: Path, tmp_path: Path):
    rewrite(saved, format=99)
    with pytest.raises(CheckpointError, match="says 99"):
        load_checkpoint(saved)
    rewrite(saved, format=1, model={"depth": 12})
    with pytest.raises(CheckpointError, match="configuration under 'model'"):
        load_checkpoint(saved)
    with pytest.raises(CheckpointError, match=r"end in \.safetensors"):
        load_checkpoint(tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="without dtype"):
        save_checkpoint(tmp_path / "a.safetensors", EgoDTM(tiny_config()), {"dtype": "int8"})


def test_a_checkpoint_with_a_base_holds_only_what_differs_and_reads_as_a_whole(tmp_path: Path):
    model, card = load_checkpoint(shipped.shipped_checkpoint())
    with torch.no_grad():
        model.image_projection += 0.25
    whole, changed = tmp_path / "whole.safetensors", tmp_path / "changed.safetensors"
    save_checkpoint(whole, model, {}, torch.float16)
    save_checkpoint(changed, model, {}, torch.float16, base=shipped.SHIPPED_NAME)
    assert list(load_file(changed)) == ["image_projection"]
    found, told = load_checkpoint(changed)
    wanted = load_checkpoint(whole)[0].state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in found.state_dict().items())
    assert told["base"]["weights_sha256"] == card["weights_sha256"]
    assert told["base"]["objective"] == card["objective"]


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ({"name": "egodtm_tiny", "weights_sha256": "0" * 64}, "ships another one"),
        ({"name": "egodtm_tiny"}, "ships another one"),
        ({"name": "../mine"}, r"egodtm_tiny, egodtm_tiny_looks, its card says '\.\./mine'"),
        ("mine", "its card says 'mine'"),
        (None, "its card says None"),
    ],
)
def test_a_base_that_is_not_this_packages_is_refused(saved: Path, base: object, message: str):
    rewrite(saved, base=base)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved)


def test_a_base_has_to_be_shipped(tmp_path: Path):
    model = EgoDTM(tiny_config(), seed=0)
    with pytest.raises(UnknownNameError, match="Did you mean 'egodtm_tiny'"):
        save_checkpoint(tmp_path / "a.safetensors", model, {}, base="egodtm_tny")
    assert not list(tmp_path.iterdir())
