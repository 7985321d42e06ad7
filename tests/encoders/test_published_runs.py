"""Every published encoder, from a file or folder as its authors publish it to a trained policy."""

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import EgoDTMRobotError
from egodtm_robot.encoders import make_encoder
from egodtm_robot.learning.cloning_run import TrainBCConfig, train_bc

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
import published_files as files
import published_timesformers as timesformers
import published_weights as weights
from fake_foreign_stores import make_foreign_store

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
PROCESSOR = {
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
FOLDERS: dict[str, tuple[str, Callable[[], torch.nn.Module]]] = {
    "clip": (
        "huggingface",
        lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**TINY)),
    ),
    "siglip2": (
        "siglip2",
        lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**TINY)),
    ),
    "dinov2": ("dinov2", lambda: transformers.Dinov2Model(transformers.Dinov2Config(**TINY))),
    "dinov3": (
        "dinov3",
        lambda: transformers.DINOv3ViTModel(
            transformers.DINOv3ViTConfig(**TINY, num_register_tokens=4)
        ),
    ),
}
"""The encoder that reads a folder of transformers, and what makes its model."""

VIDEO: dict[str, Callable[[], dict[str, torch.Tensor]]] = {
    "egodtm": lambda: weights.as_egodtm(weights.weights()),
    "avion": lambda: weights.as_avion(weights.weights()),
    "lavila": timesformers.lavila,
    "egovlp": timesformers.egovlp,
    "egovlpv2": timesformers.egovlpv2,
}
"""State dictionaries of models of video and text."""

FILES = (*VIDEO, *files.SMALL)


def publish(family: str, folder: Path) -> list[str]:
    """Write what a family publishes, and how a command is told of it."""
    if family in FOLDERS:
        encoder, make = FOLDERS[family]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            make().save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        return [f"encoder={encoder}", f"encoder.model={folder}"]
    return [f"encoder={family}", f"encoder.checkpoint={file_of(family, folder)}"]


def file_of(family: str, folder: Path) -> Path:
    if family in files.SMALL:
        return files.save_published(folder, family)
    path = folder / f"{family}.pth"
    torch.save({"epoch": 4, "state_dict": VIDEO[family]()}, path)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_foreign_store(tmp_path_factory.mktemp("demonstrations") / "arm").path


@pytest.mark.parametrize("family", [*FOLDERS, *FILES])
def test_a_policy_is_trained_on_every_published_encoder(family: str, store: Path, tmp_path: Path):
    settings = ["env=recorded", "env.cameras=[wrist]", f"demos.path={store}", "device=cpu"]
    settings += ["protocol.training.steps=2", "protocol.training.batch_size=4"]
    # The cache lies in the store, below the encoder's fingerprint.
    settings += [f"run_dir={tmp_path / 'run'}", *publish(family, tmp_path)]
    results, folder = train_bc(compose(TrainBCConfig, "train_bc", settings))
    assert results.encoder["name"] == settings[-2].removeprefix("encoder=")
    assert results.final["train_loss"] > 0
    assert (folder / "checkpoints" / "step_0000002" / "policy.safetensors").is_file()


class Hostile:
    """Leaves a folder behind where it is unpickled."""

    def __reduce__(self):
        return Path.mkdir, (Path("owned"),)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a text": lambda path: path.write_text("<html>Quota exceeded</html>"),
    "nothing": lambda path: path.write_bytes(b""),
    "a half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "an object": lambda path: torch.save(Hostile(), path),
    "an old pickle": lambda path: path.write_bytes(pickle.dumps(Hostile())),
    "a list": lambda path: torch.save([1, 2], path),
    "an image": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)),
}


@pytest.mark.parametrize("family", FILES)
def test_files_that_are_no_weights_are_named_and_nothing_is_run(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    whole = file_of(family, tmp_path).read_bytes()
    suffix = ".safetensors" if family in ("spa", "theia") else ".pth"
    for damage, do in DAMAGES.items():
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(whole)
        do(path)
        with pytest.raises(EgoDTMRobotError) as error:
            make_encoder({"name": family, "checkpoint": str(path)})
        message = str(error.value)
        assert "Expected" in message, damage
        assert str(path) in message, damage
    assert not (tmp_path / "owned").exists()
    with pytest.raises(EgoDTMRobotError, match="Expected .*found no"):
        make_encoder({"name": family, "checkpoint": str(tmp_path)})


@pytest.mark.parametrize("family", FILES)
def test_a_tensor_of_another_size_is_named(family: str, tmp_path: Path):
    path = file_of(family, tmp_path)
    if path.suffix == ".safetensors":
        content = files.SMALL[family]()
        tensors = content
    else:
        content = torch.load(path, weights_only=True)
        tensors = content[0] if isinstance(content, tuple) else content
        tensors = next(
            (tensors[key] for key in ("state_dict", "model", "r3m", "vip") if key in tensors),
            tensors,
        )
    name = next(
        name
        for name in tensors
        if name.endswith((".attn.proj.weight", "out_proj.weight", "layer1.0.conv1.weight"))
        or name.endswith("attention.output.dense.weight")
    )
    tensors[name] = torch.zeros(3, *tensors[name].shape[1:])
    if path.suffix == ".safetensors":
        path = files.save_published(tmp_path, family, content)
    else:
        torch.save(content, path)
    with pytest.raises(EgoDTMRobotError, match=r"\(3, ") as error:
        make_encoder({"name": family, "checkpoint": str(path)})
    assert "Expected" in str(error.value) or "expected" in str(error.value)
