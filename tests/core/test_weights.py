"""Checkpoint files: read without running anything in them, matched in full."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from egodtm_robot.core.errors import CheckpointMismatchError, EncoderWeightsError
from egodtm_robot.core.weights import load_matching, read_tensors


def test_both_kinds_of_files_give_their_tensors(tmp_path: Path):
    tensors = {"weight": torch.arange(6.0).reshape(2, 3)}
    torch.save(tensors, tmp_path / "a.pth")
    save_file(tensors, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        assert torch.equal(read_tensors(tmp_path / name)["weight"], tensors["weight"])


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path):
    witness = tmp_path / "executed"

    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (witness,)

    torch.save({"weight": Hostile()}, tmp_path / "hostile.pth")
    with pytest.raises(EncoderWeightsError, match="Nothing in it was executed"):
        read_tensors(tmp_path / "hostile.pth")
    assert not witness.exists()


@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors"])
def test_damaged_and_missing_files_are_named(tmp_path: Path, name: str):
    with pytest.raises(EncoderWeightsError, match="found none"):
        read_tensors(tmp_path / name)
    (tmp_path / name).write_bytes(b"\x80\x02garbage")
    with pytest.raises(EncoderWeightsError, match=name.replace(".", r"\.")):
        read_tensors(tmp_path / name)


def test_checkpoints_of_training_scripts_give_their_weights(tmp_path: Path):
    held = {"state_dict": {"weight": torch.ones(2)}, "epoch": 3, "args": argparse.Namespace(lr=1)}
    torch.save(held, tmp_path / "training.pt")
    assert torch.equal(read_tensors(tmp_path / "training.pt")["weight"], torch.ones(2))


def test_nested_files_are_no_dictionary_of_tensors(tmp_path: Path):
    torch.save({"model": {"weight": torch.zeros(1)}}, tmp_path / "nested.pth")
    with pytest.raises(EncoderWeightsError, match="flat dictionary"):
        read_tensors(tmp_path / "nested.pth")


def test_a_mismatch_leaves_the_module_as_it_was():
    module = torch.nn.Linear(3, 2)
    before = module.weight.clone()
    with pytest.raises(CheckpointMismatchError, match=r"expected \(2,\), got \(4,\)"):
        load_matching(module, {"weight": torch.ones(2, 3), "bias": torch.ones(4)}, "there")
    assert torch.equal(module.weight, before)
    load_matching(module, {"weight": torch.ones(2, 3), "bias": torch.ones(2)}, "there")
    assert torch.equal(module.bias, torch.ones(2))
