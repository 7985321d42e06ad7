import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from egodtm_robot.core.configuration import compose, from_yaml
from egodtm_robot.core.errors import DatasetError
from pretrain.checkpoints import load_checkpoint
from pretrain.clips import ClipStore
from pretrain.clips.clip import Boxes
from pretrain.clips.store import ClipStoreWriter
from pretrain.learning.pretraining import pretrain
from pretrain.model import EgoDTM
from pretrain.run import PretrainConfig, main

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_clips import make_clip, make_dense_store, make_store
from tiny_model import TINY_OVERRIDES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    make_store(folder / "train", range(20))
    make_store(folder / "held_out", range(20, 32))
    return folder


def run(stores: Path, out: Path, *overrides: str) -> dict:
    main(
        [
            *TINY_OVERRIDES,
            "data=store",
            f"data.path={stores / 'train'}",
            f"data.validation={stores / 'held_out'}",
            f"run_dir={out}",
            "steps=5",
            *overrides,
        ]
    )
    return json.loads((out / "results.json").read_text())


def test_a_run_leaves_results_checkpoints_curves_and_pictures(stores, tmp_path, capsys):
    results = run(stores, tmp_path / "run", "seed=2")
    retrieval = results["retrieval"]
    assert retrieval["gallery"] == results["test_clips"] == 6
    for direction in ("text_to_video", "video_to_text"):
        assert {"r1", "r5", "map"} <= retrieval[direction].keys()
    assert {"delta1", "rmse", "absrel", "mean_training_map"} <= results["depth"].keys()
    assert results["depth"]["unit"] == "m"
    assert results["multiple_choice"]["questions"] == 6
    assert results["multiple_choice"]["chance"] == pytest.approx(0.2)
    assert results["clips_per_s"] > 0
    assert 0 <= results["loader_wait_fraction"] <= 1
    assert results["versions"]["torch"]
    model, card = load_checkpoint(tmp_path / "run" / results["checkpoints"]["best"])
    assert card["step"] == results["best_step"]
    assert card["data"]["train"]["clips"] == 20
    assert results["parameters"]["total"] == sum(p.numel() for p in model.parameters())
    assert (tmp_path / "run" / results["checkpoints"]["last"]).is_file()
    assert np.asarray(Image.open(tmp_path / "run" / "depth.png")).std() > 5
    assert (tmp_path / "run" / "curves.png").is_file()
    assert list((tmp_path / "run" / "events").iterdir())
    config = from_yaml(PretrainConfig, (tmp_path / "run" / "config.yaml").read_text())
    assert (config.seed, config.model.vision.width) == (2, 32)
    out = capsys.readouterr().out
    for part in ("text to video", "delta1", "mean training map", "results.json", "clips/s"):
        assert part in out
    # Started again, a finished run is shown as it is.
    before = (tmp_path / "run" / "results.json").stat().st_mtime_ns
    assert run(stores, tmp_path / "run", "seed=2") == results
    assert (tmp_path / "run" / "results.json").stat().st_mtime_ns == before


def test_no_steps_give_the_random_baseline(stores, tmp_path):
    results = run(stores, tmp_path / "random", "steps=0", "seed=3", "objective=text")
    assert results["retrieval"]["gallery"] == 6
    assert results["depth"] is None
    model, card = load_checkpoint(tmp_path / "random" / "checkpoints" / "best.safetensors")
    assert card["step"] == 0
    initial = EgoDTM(model.config, seed=3).state_dict()
    assert all(torch.equal(initial[k], v) for k, v in model.state_dict().items())


def test_a_run_starts_from_the_weights_that_are_named(stores, tmp_path):
    run(stores, tmp_path / "first", "steps=2", "seed=3")
    first = tmp_path / "first" / "checkpoints" / "last.safetensors"
    run(stores, tmp_path / "second", "steps=0", f"initial={first}", "objective=region")
    model, card = load_checkpoint(tmp_path / "second" / "checkpoints" / "best.safetensors")
    started = load_checkpoint(first)[0].state_dict()
    own = model.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in started.items())
    assert card["initial"]["source"] == str(first)
    assert len(card["initial"]["weights"]) == 64
    assert set(card["initial"]["drawn_by_seed"]) == own.keys() - started.keys()


@pytest.mark.parametrize("objective", ["depth", "region"])
def test_objectives_without_text(stores, tmp_path, objective):
    alone = ["objective.text=0", "objective.region_names=0"] if objective == "region" else []
    results = run(stores, tmp_path / objective, f"objective={objective}", "steps=2", *alone)
    assert results["retrieval"] is results["multiple_choice"] is None
    if objective == "depth":
        assert 0 <= results["depth"]["delta1"] <= 1
    else:
        assert 0 <= results["regions"]["iou"] <= 1
        assert results["depth"] is None


@pytest.mark.parametrize(
    ("objective", "parts"),
    [("region", {"region", "region_names"}), ("entities", {"entities", "entity_names"})],
)
def test_objectives_of_things_run_by_their_name_alone(stores, tmp_path, objective, parts):
    sizes = ("width=16", "heads=2", "feed_forward=32")
    small = [f"model.{part}_decoder.{size}" for part in ("region", "entity") for size in sizes]
    results = run(stores, tmp_path / objective, f"objective={objective}", "steps=2", *small)
    first = results["curves"][0]
    assert {"text", *parts} <= first.keys()
    assert "depth" not in first
    assert min(first[name] for name in parts) > 0
    assert results["retrieval"]["gallery"] == 6
    # An evaluation and a policy read the checkpoint like any other.
    model, _ = load_checkpoint(tmp_path / objective / "checkpoints" / "best.safetensors")
    assert (model.entity_decoder is not None) == (objective == "entities")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective.positives=action"], "an action, .* Choose objective.positives=own"),
        (["objective=region", "data.path={bare}"], "boxes of hands and objects, .* none"),
        (["objective=entities", "data.path={unnamed}"], "a caption that names a thing .* among 20"),
    ],
)
def test_clips_without_what_the_objective_learns_from_are_refused(
    stores, tmp_path, overrides, message
):
    for name in ("bare", "unnamed"):
        with ClipStoreWriter.create(tmp_path / name, {"maker": "squares"}) as writer:
            for seed in range(20):
                clip = make_clip(seed)
                clip.boxes.category[:] = ["thing"] * len(clip.boxes)
                if name == "bare":
                    clip.boxes = Boxes.empty()
                writer.append([clip])
    paths = {name: str(tmp_path / name) for name in ("bare", "unnamed")}
    with pytest.raises(DatasetError, match=message):
        pretrain(
            compose(
                PretrainConfig,
                "pretrain",
                [
                    *TINY_OVERRIDES,
                    "data=store",
                    f"data.path={stores / 'train'}",
                    f"data.validation={stores / 'held_out'}",
                    f"run_dir={tmp_path / 'run'}",
                    *(override.format(**paths) for override in overrides),
                ],
            )
        )
    assert not (tmp_path / "run").exists()


def test_the_tasks_of_best_by_decide_which_checkpoint_is_best(stores, tmp_path):
    out = tmp_path / "by_choice"
    results = run(stores, out, "objective=text", "best_by=[multiple_choice]", "steps=8")
    (*_, last) = (entry["validation"] for entry in results["curves"] if "validation" in entry)
    assert last["score"] == last["multiple_choice"]["accuracy"]
    assert results["retrieval"]["gallery"] == 6
    rows = (out / "outcomes" / "multiple_choice.csv").read_text().splitlines()
    assert len(rows) == 1 + 6
    few = run(stores, tmp_path / "few", "tasks=[depth]", "best_by=[depth]", "steps=0")
    assert 0 <= few["depth"]["delta1"] <= 1
    assert "retrieval" not in few


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    assert stopped.value.code == 2
    return capsys.readouterr().err.strip()


def test_mistakes_are_named_in_one_line(stores, tmp_path, capsys):
    out = f"run_dir={tmp_path / 'run'}"
    assert "Did you mean 'training.batch_size'?" in refused(capsys, "training.batchsize=3", out)
    assert "text_depth" in refused(capsys, "objective=text_dept", out)
    assert "Expected the folder of a clip store in data.path" in refused(capsys, "data=store", out)
    missing = refused(capsys, "data=store", f"data.path={tmp_path / 'nothing'}", out)
    assert missing.startswith("StoreNotFoundError: Expected a clip store at")
    assert "no weights of its own" in refused(
        capsys, *TINY_OVERRIDES, "model.vision.stem=pixels", "training.stem_rate=0.1", out
    )
    gone = refused(
        capsys, *TINY_OVERRIDES, "data=store", f"data.path={stores / 'train'}",
        f"run_dir={tmp_path / 'gone'}", "initial=gone.safetensors",
    )  # fmt: skip
    assert gone.startswith("CheckpointError: Expected weights to start from at gone.safetensors")
    unmeasured = refused(
        capsys, *TINY_OVERRIDES, "data=store", f"data.path={stores / 'train'}",
        f"data.validation={stores / 'held_out'}", f"run_dir={tmp_path / 'best'}",
        "tasks=[depth]",
    )  # fmt: skip
    assert "Expected best_by to name some of the tasks depth" in unmeasured
    run(stores, tmp_path / "kept", "steps=0", "objective=text")
    with pytest.raises(SystemExit):
        run(stores, tmp_path / "kept", "steps=1", "objective=text")
    assert "steps: 0 -> 1" in capsys.readouterr().err


def test_a_precision_that_the_cpu_emulates_is_said_at_the_start(
    stores, tmp_path, capsys, monkeypatch
):
    instructions = {"avx2": True, "avx512_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    run(stores, tmp_path / "half", "steps=0", "training.precision=bf16")
    assert "no instructions for training.precision=bf16" in capsys.readouterr().err
    run(stores, tmp_path / "single", "steps=0")
    assert "no instructions" not in capsys.readouterr().err


def test_the_defaults_are_those_that_the_documents_name():
    config = compose(PretrainConfig, "pretrain", [])
    assert (config.model.name, config.data.kind, config.objective.name) == (
        "egodtm_tiny",
        "synthetic",
        "text_depth",
    )
    assert config.data.synthetic.resolution == config.model.vision.image_size
    base = compose(PretrainConfig, "pretrain", ["model=egodtm_base"])
    assert (base.data.synthetic.resolution, base.data.synthetic.frames) == (224, 4)
    region = compose(PretrainConfig, "pretrain", ["objective=region"])
    assert region.model.region_decoder.enabled
    assert region.model.region_decoder.names
    assert (region.objective.text, region.objective.region) == (1, 1)
    assert compose(PretrainConfig, "pretrain", ["objective=entities"]).model.entity_decoder.enabled
    published = compose(PretrainConfig, "pretrain", ["objective=published"]).objective
    weights = dataclasses.asdict(published.depth_loss)
    assert (published.text, published.depth, published.texts) == (1, 1, "random")
    assert (published.negatives, {name for name, one in weights.items() if one}) == (0, {"mse"})


def test_the_command_runs_from_any_folder_by_its_path(tmp_path):
    out = subprocess.run(
        [sys.executable, str(ROOT / "pretrain" / "run.py"), "--help"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert out.returncode == 0, out.stderr
    assert "egodtm_tiny" in out.stdout
    assert os.listdir(tmp_path) == []


def test_clips_are_drawn_when_none_are_given(tmp_path):
    out = tmp_path / "run"
    main(
        [
            *TINY_OVERRIDES,
            f"run_dir={out}",
            "steps=1",
            # Drawn as large as by default: in a few pixels no hand is seen well enough.
            "data.synthetic.resolution=128",
            "data.clips=4",
            "data.validation_clips=2",
            "data.test_clips=2",
            "data.workers=0",
            f"data.cache={tmp_path / 'clips'}",
        ]
    )
    results = json.loads((out / "results.json").read_text())
    assert results["data"]["train"]["clips"] == 4
    (folder,) = (tmp_path / "clips").iterdir()
    assert len(ClipStore.open(folder / "train")) == 4


def test_dense_truth_alone_is_a_run_whose_last_weights_are_kept(tmp_path):
    make_dense_store(tmp_path / "train", range(12))
    overrides = ["objective=dense", "objective.text=0", "objective.depth=0"]
    out = tmp_path / "run"
    results = run(
        tmp_path,
        out,
        *overrides,
        "objective.dense.attach=patches",
        "model.vision.stem=pixels",
        "training.image_share=0.4",
        f"data.validation={tmp_path / 'train'}",
        "training.validate_every=2",
    )
    assert results["depth"] is results["retrieval"] is None
    assert results["best_step"] == 5
    parts = [entry for entry in results["curves"] if "total" in entry]
    assert {"segmentation", "normals", "correspondence"} <= parts[-1].keys()
    assert parts[0]["correspondence"] == 0 < parts[-1]["correspondence"]
