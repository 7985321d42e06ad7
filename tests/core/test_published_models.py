"""Weights from elsewhere: read without running anything in them, matched in full."""

import argparse
import json
import pathlib
import sys
import time
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from egodtm_robot.core.devices import pick_device
from egodtm_robot.core.errors import CheckpointMismatchError, ConfigurationError, WeightsError
from egodtm_robot.core.published_models.files import read_tensors
from egodtm_robot.core.published_models.hub import (
    load_config,
    load_model,
    load_processor_config,
    load_tokenizer,
)
from egodtm_robot.core.published_models.matching import load_matching
from egodtm_robot.encoders.huggingface import HuggingFaceEncoder
from pretrain.annotate.captions.local_chat import TransformersCaptions
from pretrain.annotate.depth.huggingface import HuggingFaceDepth
from pretrain.annotate.detectors.model import published_detector
from pretrain.annotate.detectors.trained import TrainedDetector
from pretrain.annotate.detectors.zero_shot import ZeroShotDetector
from pretrain.checkpoints.huggingface import read_huggingface_clip


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
    with pytest.raises(WeightsError, match="Nothing in it was executed"):
        read_tensors(tmp_path / "hostile.pth")
    assert not witness.exists()


@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors"])
def test_damaged_and_missing_files_are_named(tmp_path: Path, name: str):
    with pytest.raises(WeightsError, match="found none"):
        read_tensors(tmp_path / name)
    (tmp_path / name).write_bytes(b"\x80\x02garbage")
    with pytest.raises(WeightsError, match=name.replace(".", r"\.")):
        read_tensors(tmp_path / name)


def test_checkpoints_of_training_scripts_give_their_weights(tmp_path: Path):
    held = {"state_dict": {"weight": torch.ones(2)}, "epoch": 3, "args": argparse.Namespace(lr=1)}
    torch.save(held, tmp_path / "training.pt")
    assert torch.equal(read_tensors(tmp_path / "training.pt")["weight"], torch.ones(2))


@pytest.mark.parametrize("scalar", [np.float64(0.5), np.float32(0.5), np.int64(3), np.bool_(True)])
def test_numpy_scalars_beside_the_weights_are_read(tmp_path: Path, scalar: Any):
    held = {"state_dict": {"weight": torch.ones(2)}, "best_acc1": scalar}
    torch.save(held, tmp_path / "avion.pt")
    assert torch.equal(read_tensors(tmp_path / "avion.pt")["weight"], torch.ones(2))


def test_numpy_scalars_of_numpy_1_are_read(tmp_path: Path):
    torch.save(
        {"state_dict": {"weight": torch.ones(2)}, "best": np.float64(1)}, tmp_path / "new.pt"
    )
    old = tmp_path / "old.pt"
    with zipfile.ZipFile(tmp_path / "new.pt") as source, zipfile.ZipFile(old, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(entry.filename, content)
    assert torch.equal(read_tensors(old)["weight"], torch.ones(2))


@pytest.mark.parametrize("key", ["model", "r3m", "vip"])
def test_weights_under_the_keys_of_published_files_are_found(tmp_path: Path, key: str):
    torch.save({key: {"module.weight": torch.ones(2)}, "epoch": 3}, tmp_path / "keyed.pth")
    assert torch.equal(read_tensors(tmp_path / "keyed.pth")["module.weight"], torch.ones(2))


def test_weights_first_in_a_tuple_are_found(tmp_path: Path):
    torch.save(({"weight": torch.ones(2)}, {"state": {}, "param_groups": []}), tmp_path / "pair.pt")
    assert torch.equal(read_tensors(tmp_path / "pair.pt")["weight"], torch.ones(2))


def test_files_without_a_dictionary_of_tensors_tell_what_they_hold(tmp_path: Path):
    torch.save({"weights": {"weight": torch.zeros(1)}, "epoch": 1}, tmp_path / "nested.pth")
    with pytest.raises(WeightsError, match="flat dictionary.*'weights', 'epoch'"):
        read_tensors(tmp_path / "nested.pth")


@pytest.mark.parametrize("module", ["parse_config", "parse_config_dist_multi"])
def test_the_configuration_beside_egovlps_weights_is_passed_over(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class ConfigParser:
        """As the script leaves it: arguments, settings, paths and levels of logging."""

        def __init__(self) -> None:
            self.args = argparse.Namespace(config="pt/egoclip.json")
            self._config = OrderedDict(trainer=OrderedDict(epochs=10))
            self._save_dir = pathlib.PosixPath("results") / "models"
            self.log_levels = {0: 30, 1: 20}

        def __setstate__(self, state: Any) -> None:
            (tmp_path / "executed").touch()

    ConfigParser.__module__, ConfigParser.__qualname__ = module, "ConfigParser"
    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(ConfigParser=ConfigParser))
    held = {"state_dict": {"weight": torch.ones(2)}, "config": ConfigParser(), "epoch": 3}
    torch.save(held, tmp_path / "egovlp.pth")
    assert torch.equal(read_tensors(tmp_path / "egovlp.pth")["weight"], torch.ones(2))
    assert not (tmp_path / "executed").exists()


def test_a_class_in_a_pickle_is_named_and_not_made(tmp_path: Path):
    held = {"state_dict": {"weight": torch.ones(2)}, "config": pathlib.PurePosixPath("a")}
    torch.save(held, tmp_path / "egovlp.pth")
    with pytest.raises(WeightsError, match=r"pickle of pathlib\.PurePosixPath.*Nothing in it was"):
        read_tensors(tmp_path / "egovlp.pth")


def test_a_torchscript_archive_is_named(tmp_path: Path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "ViT-B-16.pt"))
    with pytest.raises(WeightsError, match=r"TorchScript archive.*torch\.jit\.load"):
        read_tensors(tmp_path / "ViT-B-16.pt")


def test_a_mismatch_leaves_the_module_as_it_was():
    module = torch.nn.Linear(3, 2)
    before = module.weight.clone()
    with pytest.raises(CheckpointMismatchError, match=r"expected \(2,\), got \(4,\)"):
        load_matching(module, {"weight": torch.ones(2, 3), "bias": torch.ones(4)}, "there")
    assert torch.equal(module.weight, before)
    load_matching(module, {"weight": torch.ones(2, 3), "bias": torch.ones(2)}, "there")
    assert torch.equal(module.bias, torch.ones(2))


def save_vit(folder: Path, **config: Any) -> Path:
    model = transformers.ViTModel(
        transformers.ViTConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
        )
    )
    model.save_pretrained(folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


def test_a_model_is_loaded_without_touching_the_global_generator(tmp_path: Path):
    path = save_vit(tmp_path)
    before = torch.get_rng_state()
    model = load_model(transformers.ViTModel, str(path))
    assert torch.equal(before, torch.get_rng_state())
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_only_safetensors_are_read(tmp_path: Path):
    path = save_vit(tmp_path)
    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load_model(transformers.ViTModel, str(path))


def test_code_that_a_model_brings_along_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", cache)
    witness = tmp_path / "executed"
    path = save_vit(
        tmp_path / "theia", model_type="theia", auto_map={"AutoConfig": "modeling.TheiaConfig"}
    )
    (path / "modeling.py").write_text(
        f"import pathlib\npathlib.Path({str(witness)!r}).touch()\n"
        "from transformers import PretrainedConfig\n"
        "class TheiaConfig(PretrainedConfig): model_type = 'theia'\n"
    )
    with pytest.raises(WeightsError, match=r"'theia'.*AutoConfig.*trust_remote_code=true"):
        load_config(str(path))
    assert not witness.exists()
    assert load_config(str(path), trust_remote_code=True).model_type == "theia"
    assert witness.exists()


PLACES: dict[str, Callable[[str], Any]] = {
    "depth": HuggingFaceDepth,
    "zero-shot detector": ZeroShotDetector,
    "trained detector": TrainedDetector,
    "detector to train on": lambda path: published_detector(path, None, ["hand"], 0),
    "tracking": lambda path: load_model(transformers.Sam2VideoModel, path),
    "captions": lambda path: TransformersCaptions(path)._load(),
    "CLIP": read_huggingface_clip,
    "encoder": HuggingFaceEncoder,
}


@pytest.mark.parametrize("place", PLACES)
def test_no_place_that_loads_a_model_asks_whether_to_run_its_code(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def ask(*_: Any) -> str:
        raise AssertionError("the user was asked")

    monkeypatch.setattr("builtins.input", ask)
    witness = tmp_path / "executed"
    code = {"AutoConfig": "modeling.Config", "AutoTokenizer": ["modeling.Tokenizer", None]}
    tasks = ("", "ForDepthEstimation", "ForObjectDetection", "ForCausalLM")
    for task in (*tasks, "ForZeroShotObjectDetection"):
        code[f"AutoModel{task}"] = "modeling.Model"
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "strange", "auto_map": code}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"auto_map": code}))
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "modeling.py").write_text(
        f"import pathlib\npathlib.Path({str(witness)!r}).touch()\n"
    )
    with pytest.raises(WeightsError, match=r"'strange'.*own code"):
        PLACES[place](str(tmp_path))
    assert not witness.exists()


def test_code_beside_a_model_that_transformers_knows_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the user was asked"))
    path = save_vit(tmp_path, auto_map={"AutoModel": "modeling.Model"})
    (path / "modeling.py").write_text("raise SystemExit")
    assert type(load_model(transformers.AutoModel, str(path))).__name__ == "ViTModel"


def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    tried = []

    def refuse(address: tuple[str, int], timeout: float) -> None:
        tried.append(timeout)
        raise TimeoutError

    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr("socket.create_connection", refuse)
    began = time.perf_counter()
    for load in (load_config, load_processor_config, load_tokenizer):
        with pytest.raises(WeightsError, match="Without a network"):
            load("nobody/nothing-of-that-name")
    assert time.perf_counter() - began < 10
    assert len(tried) == 1, "found silent once, a hub is not tried for every file"
    assert tried[0] <= 3


def test_devices_are_picked_by_name():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda")
    for name in ("gpu9", "cuda:99"):
        with pytest.raises(ConfigurationError, match="device=auto"):
            pick_device(name)
