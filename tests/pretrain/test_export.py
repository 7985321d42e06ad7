"""Checkpoints to pass on."""

import json
import sys
from pathlib import Path

import pytest
import torch

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import (
    CheckpointError,
    ConfigurationError,
    OutputPathError,
    UnknownNameError,
)
from pretrain.checkpoints import load_checkpoint, save_checkpoint
from pretrain.checkpoints.video_graph import video_graph
from pretrain.export import ExportConfig, export
from pretrain.learning.results import own_names
from pretrain.model import EgoDTM

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from tiny_model import tiny_config


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    card = {"steps": 7, "data": {"kind": "synthetic"}}
    save_checkpoint(folder / "checkpoints" / "best.safetensors", EgoDTM(tiny_config()), card)
    results = {name: None for name in own_names()} | {"test_clips": 3, "curves": [1, 2]}
    # Scores of any task go into the card, not only of those that are ours.
    results |= {"depth": {"delta1": 0.5}, "retrieval": None, "five_videos": {"accuracy": 0.25}}
    (folder / "results.json").write_text(json.dumps(results | {"best_step": 2}))
    return folder


def test_half_the_size_and_the_same_model_with_what_was_measured(run: Path, tmp_path: Path):
    out = tmp_path / "new" / "mine.safetensors"
    export(ExportConfig(run_dir=str(run), out=str(out), made_by="python pretrain/run.py steps=7"))
    whole = run / "checkpoints" / "best.safetensors"
    assert out.stat().st_size < 0.6 * whole.stat().st_size
    model, card = load_checkpoint(out)
    original, _ = load_checkpoint(whole)
    for name, tensor in original.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)
    assert card["dtype"] == "float16"
    assert card["steps"] == 7
    assert card["test"] == {
        "depth": {"delta1": 0.5},
        "five_videos": {"accuracy": 0.25},
        "test_clips": 3,
        "best_step": 2,
    }
    assert card["made_by"] == "python pretrain/run.py steps=7"


def test_an_unfinished_run_is_refused(run: Path, tmp_path: Path):
    (run / "results.json").unlink()
    with pytest.raises(CheckpointError, match="finished run"):
        export(ExportConfig(run_dir=str(run), out=str(tmp_path / "mine.safetensors")))


def test_weights_that_half_precision_cannot_hold_are_refused(run: Path, tmp_path: Path):
    path = run / "checkpoints" / "best.safetensors"
    model, _ = load_checkpoint(path)
    with torch.no_grad():
        model.image_projection[0, 0] = 1e6
    save_checkpoint(path, model, {})
    out = tmp_path / "mine.safetensors"
    with pytest.raises(CheckpointError, match=r"image_projection is too large.*float32"):
        export(ExportConfig(run_dir=str(run), out=str(out)))
    export(ExportConfig(run_dir=str(run), out=str(out), precision="bfloat16"))


def test_the_video_encoder_is_written_as_a_network_that_matches(run: Path, tmp_path: Path):
    out = tmp_path / "video.pt2"
    config = ExportConfig(
        run_dir=str(run),
        out=str(out),
        format="torch_export",
        output="embedding",
        frames=2,
        image_size=[20, 24],
    )
    export(config)
    model, _ = load_checkpoint(run / "checkpoints" / "best.safetensors")
    clips = torch.randint(0, 256, (3, 2, 20, 24, 3), dtype=torch.uint8)
    with torch.no_grad():
        found = torch.export.load(out).module()(clips)
        network = video_graph(model, "embedding", 2, (20, 24)).module
        torch.testing.assert_close(found, network(clips), atol=1e-5, rtol=1e-5)
    assert found.shape[0] == 3
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    with pytest.raises(OutputPathError, match="exists"):
        export(config)


def test_a_network_has_the_suffix_of_its_format(run: Path, tmp_path: Path):
    out = str(tmp_path / "video.safetensors")
    with pytest.raises(OutputPathError, match=r"end in \.onnx"):
        export(ExportConfig(run_dir=str(run), out=out, format="onnx"))
    with pytest.raises(ConfigurationError, match="image_size"):
        ExportConfig(run_dir=str(run), out=out, image_size=[5])


def test_an_unknown_precision_is_refused():
    with pytest.raises(UnknownNameError, match="float16"):
        compose(ExportConfig, "export", ["run_dir=run", "out=x", "precision=half"])
