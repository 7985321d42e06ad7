import dataclasses
import math
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.errors import (
    ConfigurationError,
    ResumeMismatchError,
    TrainingDivergedError,
    UnknownNameError,
)
from pretrain.checkpoints import load_checkpoint
from pretrain.clips import ClipStore
from pretrain.clips.dataset import ClipDataset, Draw, SampleSpec
from pretrain.learning.accelerator import make_accelerator
from pretrain.learning.trainer import BEST, LAST, Trainer, make_optimizer
from pretrain.learning.training_config import TrainingConfig
from pretrain.losses.dense import DenseLossConfig
from pretrain.losses.heads import ModelWithHeads
from pretrain.losses.objective import ObjectiveConfig, freeze_unused, objective_losses
from pretrain.model import EgoDTM
from pretrain.model.crop_decoder import CropConfig

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_store
from tiny_model import tiny_config

FAKES = Path(__file__).parents[2] / "fakes"

CONFIG = TrainingConfig(
    batch_size=6,
    image_share=0.25,
    image_batch_size=8,
    validate_every=4,
    save_every=3,
    log_every=2,
    workers=0,
    threads=1,
)
ALL = ObjectiveConfig(name="all", text=1.0, depth=0.5, region=0.25)
TEXT_DEPTH = ObjectiveConfig(text=1.0, depth=0.5)
STEPS = 8


def make_dataset(folder: Path) -> ClipDataset:
    path = folder / "clips"
    if not path.exists():
        make_store(path, range(14))
    return ClipDataset(ClipStore.open(path), SampleSpec(32, (8, 8), True, "random", 2), seed=1)


def make_trainer(
    folder: Path,
    out: Path,
    config: TrainingConfig = CONFIG,
    objective: ObjectiveConfig = ALL,
    steps: int = STEPS,
    scores: dict[int, float] | None = None,
    model: EgoDTM | None = None,
    **options,
) -> Trainer:
    def validate(model, step):
        assert not model.training
        return {"score": step if scores is None else scores[step]}

    return Trainer(
        config,
        objective,
        EgoDTM(tiny_config(regions=True), seed=3) if model is None else model,
        make_dataset(folder),
        out,
        steps=steps,
        seed=1,
        accelerator=make_accelerator(config, "cpu"),
        provenance={"data": "squares"},
        validate=validate,
        **options,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of clips, and the weights and result of an uninterrupted run on them."""
    folder = tmp_path_factory.mktemp("training")
    trainer = make_trainer(folder, folder / "run")
    result = trainer.run()
    return folder, trainer.model.state_dict(), result


def test_weight_decay_is_for_matrices_that_multiply():
    model = EgoDTM(tiny_config(regions=True))
    optimizer = make_optimizer(model, TrainingConfig(weight_decay=0.1))
    decayed, free = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    names = dict(model.named_parameters())
    assert id(names["visual.conv1.weight"]) in decayed
    assert id(names["image_projection"]) in decayed
    for name, parameter in names.items():
        if name.endswith("bias") or "ln_" in name or "embedding" in name or "query_" in name:
            assert id(parameter) not in decayed
    assert "logit_scale" in names
    assert id(names["logit_scale"]) not in decayed | free


def test_a_dense_head_learns_at_a_rate_of_its_own():
    dense = DenseLossConfig(normals=1.0, attach="patches", head_rate=10.0)
    heads = ModelWithHeads(EgoDTM(tiny_config()), ObjectiveConfig(dense=dense), 0, None)
    optimizer = make_optimizer(heads.model, TrainingConfig(), heads)
    head = {id(parameter) for parameter in heads.dense.parameters()}
    shares = {
        id(parameter) in head: group["rate_share"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert shares == {True: 10.0, False: 1.0}


def test_a_stem_learns_at_its_share_of_the_rate_or_not_at_all(tmp_path, finished):
    config = tiny_config()
    config.vision.stem = "efficientnet_lite0"
    with torch.device("meta"):
        model = EgoDTM(config, seed=None)
    model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=generator)
    initial = {name: t.clone() for name, t in model.state_dict().items()}
    moved = {}
    for share in (0.0, 0.25):
        model.load_state_dict(initial)
        model.visual.stem.train_network(True)  # whatever was before, the settings decide
        settings = dataclasses.replace(CONFIG, stem_rate=share, image_share=0, weight_decay=0.0)
        out = tmp_path / str(share)
        make_trainer(finished[0], out, settings, TEXT_DEPTH, steps=1, model=model).run()
        # A frozen stem costs no backward pass.
        stem = model.visual.stem.network.parameters()
        assert all(parameter.requires_grad == (share > 0) for parameter in stem)
        changes = {n: (t - initial[n]).abs().max().item() for n, t in model.state_dict().items()}
        moved[share] = max(v for n, v in changes.items() if n.startswith("visual.stem.network."))
        # Adam's first step is the rate itself, in every parameter that has a gradient.
        assert changes["visual.conv1.weight"] == pytest.approx(settings.learning_rate, rel=0.05)
    assert moved[0.0] == 0
    assert moved[0.25] == pytest.approx(0.25 * CONFIG.learning_rate, rel=0.05)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_text_encoder_learns_at_its_share_of_the_rate_or_not_at_all(share, tmp_path, finished):
    settings = dataclasses.replace(CONFIG, text_rate=share, image_share=0, weight_decay=0.0)
    model = EgoDTM(tiny_config(), seed=0)
    initial = {name: t.clone() for name, t in model.state_dict().items()}
    make_trainer(finished[0], tmp_path, settings, TEXT_DEPTH, steps=1, model=model).run()
    changes = {n: (t - initial[n]).abs().max().item() for n, t in model.state_dict().items()}
    # A frozen text encoder costs no backward pass.
    assert all(parameter.requires_grad == (share > 0) for parameter in model.textual.parameters())
    texts = max(v for n, v in changes.items() if n.startswith("textual."))
    assert texts == pytest.approx(share * settings.learning_rate, rel=0.05)
    # What the texts are compared with learns at the full rate in any case.
    assert changes["image_projection"] == pytest.approx(settings.learning_rate, rel=0.05)


@pytest.mark.parametrize(
    ("weights", "unused"),
    [
        ({"text": 1, "depth": 0}, ("depth_decoder", "region_decoder")),
        ({"text": 0, "depth": 1}, ("textual", "image_projection", "region_decoder")),
        ({"text": 0, "depth": 0, "region": 1}, ("textual", "image_projection", "depth_decoder")),
        ({"text": 1, "depth": 1, "region": 1}, ()),
    ],
)
def test_an_objective_reaches_what_is_not_frozen_and_nothing_else(finished, weights, unused):
    objective = ObjectiveConfig(**weights)
    model = EgoDTM(tiny_config(regions=True))
    freeze_unused(model, objective)
    losses = objective_losses(
        model, make_dataset(finished[0]).batch([Draw(i, i) for i in range(4)]), objective,
        model.config,
    )  # fmt: skip
    values = {name: value.item() for name, value in losses.items()}
    expected = sum(weights[name] * value for name, value in values.items() if name != "total")
    assert values["total"] == pytest.approx(expected, rel=1e-6)
    losses["total"].backward()
    for name, parameter in model.named_parameters():
        frozen = name.startswith((*unused, "logit_scale"))
        assert parameter.requires_grad != frozen, name
        assert (parameter.grad is None) == frozen, name


def test_an_objective_without_its_decoder_or_weights_is_refused():
    with pytest.raises(ConfigurationError, match=r"model\.region_decoder\.enabled"):
        freeze_unused(EgoDTM(tiny_config()), ObjectiveConfig(region=1))
    with pytest.raises(ConfigurationError, match=r"model\.region_decoder\.names"):
        freeze_unused(EgoDTM(tiny_config(regions=True)), ObjectiveConfig(region_names=1))
    with pytest.raises(ConfigurationError, match=r"model\.entity_decoder\.enabled"):
        freeze_unused(EgoDTM(tiny_config()), ObjectiveConfig(entities=1))
    with pytest.raises(ConfigurationError, match=r"objective\.text above 0"):
        ObjectiveConfig(text=0, positives="action")
    with pytest.raises(ConfigurationError, match="above 0"):
        ObjectiveConfig(text=0, depth=0)
    with pytest.raises(UnknownNameError, match="caption"):
        from_mapping(ObjectiveConfig, {"texts": "captions"})


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0},
        {"learning_rate": math.nan},
        {"warmup": 1.0},
        {"workers": -1},
        {"stem_rate": 2},
        {"text_rate": -0.5},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigurationError):
        from_mapping(TrainingConfig, settings)


def test_a_run_keeps_curves_the_last_and_the_best_checkpoint(tmp_path, finished):
    scores = {4: 2.0, 8: 1.0}
    seen = []
    trainer = make_trainer(
        finished[0], tmp_path, scores=scores, progress=lambda step, note: seen.append(step)
    )
    result = trainer.run()
    assert (result.best_step, result.best_score) == (4, 2.0)
    steps = [entry["step"] for entry in result.history]
    assert steps == sorted(steps)
    assert set(steps) == {2, 3, 4, 6, 8}
    validated = [entry for entry in result.history if "validation" in entry]
    assert [entry["validation"]["score"] for entry in validated] == [2.0, 1.0]
    assert seen == [2, 3, 4, 6, 8]
    last, card = load_checkpoint(tmp_path / LAST)
    assert card["step"] == 8
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(last.state_dict()[name], tensor)
    assert load_checkpoint(tmp_path / BEST)[1]["step"] == 4
    assert result.clips_per_s > 0
    assert 0 < result.loader_wait_fraction < 1
    # The same settings give the same weights, validation or not.
    assert all(
        torch.equal(tensor, finished[1][name])
        for name, tensor in trainer.model.state_dict().items()
    )


# Of the run of the fixture: step, total, text, depth, region, norm of the gradient, learning rate.
GOLDEN = (
    (2, 4.984706, 2.096199, 0.309174, 10.935679, 28.540409, 9.619398e-4),
    (3, 5.357306, 2.443321, 0.301881, 11.052177, 76.173660, 8.535534e-4),
    (4, 4.955524, 2.081100, 0.292712, 10.912273, 39.434380, 6.913417e-4),
    (6, 4.399868, 1.524559, 0.295898, 10.909441, 9.844673, 3.086583e-4),
    (8, 4.628715, 1.812126, 0.301048, 10.664260, 20.132435, 3.806023e-5),
)


def test_the_curve_stays_what_it_was(finished):
    curve = [entry for entry in finished[2].history if "validation" not in entry]
    names = ("step", "total", "text", "depth", "region", "gradient_norm", "learning_rate")
    for entry, golden in zip(curve, GOLDEN, strict=True):
        assert tuple(entry) == names
        # Another processor rounds differently, and the steps make more of it.
        assert tuple(entry.values()) == pytest.approx(golden, rel=5e-3), entry["step"]


def test_no_steps_keep_the_initial_weights(tmp_path, finished):
    result = make_trainer(finished[0], tmp_path, steps=0).run()
    initial = EgoDTM(tiny_config(regions=True), seed=3).state_dict()
    for name in (BEST, LAST):
        kept = load_checkpoint(tmp_path / name)[0].state_dict()
        assert all(torch.equal(kept[key], tensor) for key, tensor in initial.items())
    assert (result.best_step, result.clips_per_s) == (0, 0)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from test_trainer import make_trainer
def die(step, note):
    if step == 6:
        os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[3])
make_trainer(folder, folder / "killed", progress=die).run()
"""


def test_a_killed_run_ends_with_the_same_weights_to_the_bit(finished):
    folder, weights, result = finished
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(FAKES), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    states = sorted(p.name for p in (folder / "killed" / "resume").iterdir())
    assert states == ["state_0000003.safetensors"]
    seen = []
    trainer = make_trainer(folder, folder / "killed", progress=lambda step, note: seen.append(step))
    resumed = trainer.run()
    assert seen[0] == 4
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    for one, other in zip(resumed.history, result.history, strict=True):
        assert one == other
    assert (resumed.best_step, resumed.best_score) == (result.best_step, result.best_score)
    states = sorted(p.name for p in (folder / "killed" / "resume").iterdir())
    assert states == ["state_0000006.safetensors", "state_0000008.safetensors"]


def test_a_damaged_state_costs_the_steps_since_the_one_before(tmp_path, finished):
    folder, weights, _ = finished
    trainer = make_trainer(folder, tmp_path, steps=STEPS)
    trainer.run()
    newest = tmp_path / "resume" / "state_0000008.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    seen = []
    again = make_trainer(folder, tmp_path, progress=lambda step, note: seen.append(step))
    again.run()
    assert seen == [8]
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_heads_and_the_averaged_weights_go_on_to_the_bit(tmp_path, finished):
    folder = finished[0]
    config = dataclasses.replace(CONFIG, ema=0.9)
    crop = CropConfig(
        source="class", resolution=16, patch_size=4, width=16, layers=1, heads=2, masked=0.75
    )
    objective = ObjectiveConfig(text=0, depth=1, crop=1, crop_decoder=crop)

    def trainer(out: Path) -> Trainer:
        return make_trainer(folder, out, config, objective, scores=dict.fromkeys((4, 8), 0.0))

    whole = trainer(tmp_path / "run")
    history = whole.run().history
    assert all(entry["crop"] > 0 for entry in history if "crop" in entry)
    (tmp_path / "run" / "resume" / "state_0000008.safetensors").unlink()
    again = trainer(tmp_path / "run")
    again.run()
    assert again.step == STEPS
    for name, tensor in whole.trainee.state_dict().items():
        assert torch.equal(again.trainee.state_dict()[name], tensor), name
    for name, tensor in whole.average.tensors().items():
        assert torch.equal(again.average.tensors()[name], tensor), name
    # Kept are the averaged weights of the model alone.
    kept, _ = load_checkpoint(tmp_path / "run" / LAST)
    name = "visual.conv1.weight"
    assert torch.equal(kept.state_dict()[name], whole.average.tensors()[name])
    assert not torch.equal(kept.state_dict()[name], whole.model.state_dict()[name])


def test_a_run_with_other_settings_is_not_gone_on_with(tmp_path, finished):
    folder = finished[0]
    make_trainer(folder, tmp_path, steps=3, scores={3: 0.0}).run()
    for changed, named in (
        (
            {"config": dataclasses.replace(CONFIG, learning_rate=2e-3)},
            "training.learning_rate: 0.001 -> 0.002",
        ),
        ({"steps": 4}, "steps: 3 -> 4"),
        ({"objective": dataclasses.replace(ALL, depth=1.0)}, "objective.depth: 0.5 -> 1.0"),
    ):
        with pytest.raises(ResumeMismatchError, match=re.escape(f": {named}. ")):
            make_trainer(folder, tmp_path, **{"steps": 3, **changed}).run()
    same = dataclasses.replace(CONFIG, workers=1, log_every=50)
    make_trainer(folder, tmp_path, config=same, steps=3).run()


def test_a_loss_that_is_not_finite_stops_the_run_before_anything_is_kept(tmp_path, finished):
    trainer = make_trainer(finished[0], tmp_path)
    with torch.no_grad():
        trainer.model.image_projection[0, 0] = math.nan
    with pytest.raises(TrainingDivergedError, match=r"text nan.* between steps 1 and 2"):
        trainer.run()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path, finished):
    trainer = make_trainer(finished[0], tmp_path)
    trainer.model.image_projection.register_hook(lambda gradient: gradient * math.inf)
    trainer.steps = 1  # the loss is still finite
    with pytest.raises(TrainingDivergedError, match=r"total \d.*gradient_norm (nan|inf) in step 1"):
        trainer.run()
    assert not list(tmp_path.rglob("*.safetensors"))


# -- many processes ----------------------------------------------------------------------------

SHARE = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import torch, safetensors.torch
from test_trainer import CONFIG, step_gradients
from pretrain.learning.accelerator import make_accelerator
accelerator = make_accelerator(CONFIG, "cpu")
assert accelerator.num_processes == 2
loss, gradients = step_gradients(accelerator, Path(sys.argv[3]))
rank = accelerator.process_index
safetensors.torch.save_file({"loss": loss, **gradients}, f"{sys.argv[4]}/{rank}.safetensors")
"""


def global_batch(folder: Path, rank: int, processes: int):
    """One process's share of six clips, of which only some have depth or boxes."""
    dataset = make_dataset(folder)
    draws = [Draw(i, 20 + i) for i in range(6)]
    share = len(draws) // processes
    batch = dataset.batch(draws[rank * share : (rank + 1) * share])
    for position, index in enumerate(batch.index.tolist()):
        if index in (0, 1, 2, 4):
            batch.depth[position] = torch.nan
        if index == 5:
            batch.boxes[position] = None
    return batch


def step_gradients(accelerator, folder: Path):
    """The loss of the global batch and every gradient, through accelerate's wrapping."""
    model = EgoDTM(tiny_config(regions=True), seed=3)
    freeze_unused(model, ALL)
    wrapped, _ = accelerator.prepare(model, make_optimizer(model, CONFIG))
    batch = global_batch(folder, accelerator.process_index, accelerator.num_processes)
    losses = objective_losses(wrapped, batch, ALL, model.config)
    accelerator.backward(losses["total"])
    loss = accelerator.reduce(losses["total"].detach().clone(), "mean")
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss, gradients


def test_two_processes_have_the_loss_and_the_gradients_of_one(tmp_path, finished):
    folder = finished[0]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(2):
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        arguments = [str(Path(__file__).parent), str(FAKES), str(folder), str(tmp_path)]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", SHARE, *arguments],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in processes:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    loss, gradients = step_gradients(make_accelerator(CONFIG, "cpu"), folder)
    assert math.isfinite(float(loss))
    for rank in range(2):
        found = safetensors.torch.load_file(tmp_path / f"{rank}.safetensors")
        assert float(found.pop("loss")) == pytest.approx(float(loss), abs=1e-5)
        assert found.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5)
