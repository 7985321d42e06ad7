"""Fingerprints stay: caches, policies and published checkpoints are named by them."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from egodtm_robot.encoders import ImageEncoder, make_encoder
from egodtm_robot.encoders import pixels as pixels_module
from egodtm_robot.encoders.pixels import PixelEncoder


@pytest.mark.parametrize(
    ("config", "fingerprint"),
    [
        ("none", "8005e92166825fa2"),
        ({"name": "oracle", "dimension": 15}, "711207e9cc32a88a"),
        ("pixels", "3094abef6c265e83"),
        ({"name": "pixels", "size": 8}, "b431925fafbde769"),
        ("efficientnet_lite0", "515763e4632458c4"),
        ("efficientnet_lite0_random", "2cecea0237dfd95f"),
        ("egodtm", "e2edc5c5693ce8c2"),
        ("egodtm_looks", "49a2de9156196d01"),
        ({"name": "egodtm", "output": "patches", "layer": 2}, "1ca1d8dd13151c61"),
        ({"name": "egodtm", "output": "embedding", "history": 4}, "78ebaf189f68346c"),
        ("vit_tiny_random", "2b5f937401495472"),
    ],
)
def test_the_first_encoders_keep_their_fingerprints(config: Any, fingerprint: str):
    assert make_encoder(config).fingerprint == fingerprint


def test_a_class_in_another_module_has_the_same_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "moved_pixels.py").write_text(Path(pixels_module.__file__).read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "moved_pixels", raising=False)
    moved = importlib.import_module("moved_pixels").PixelEncoder
    assert moved.__module__ != PixelEncoder.__module__
    assert moved().fingerprint == PixelEncoder().fingerprint == "3094abef6c265e83"


class Plain(ImageEncoder):
    """An encoder as users write them."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Identity(), dimension=3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0].float().mean(dim=(1, 2))[:, None]


def _as(kind: str | None, module: str) -> str:
    """The fingerprint of the same encoder with another kind and in another module."""
    body = {"__module__": module} | ({} if kind is None else {"kind": kind})
    return type("Plain", (Plain,), body)().fingerprint


def test_without_a_kind_the_import_path_counts_and_with_one_the_kind_alone():
    assert _as(None, "here") != _as(None, "there")
    assert _as("mine", "here") == _as("mine", "there")
    assert _as("mine", "here") != _as("yours", "here")


def test_a_subclass_does_not_pass_for_the_encoder_that_it_derives_from():
    subclass = type("Subclass", (PixelEncoder,), {})
    assert subclass().fingerprint != PixelEncoder().fingerprint
