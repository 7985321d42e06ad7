"""Training a detector: pictures, labels, resuming, refusals."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import (
    ConfigurationError,
    DatasetError,
    ResumeMismatchError,
    TrainingDivergedError,
    UnknownNameError,
    WeightsError,
)
from pretrain.annotate.detectors.examples import (
    PictureDataset,
    StoreExamples,
    VisorExamples,
    labeled,
    mirrored,
)
from pretrain.annotate.detectors.model import new_detector, published_detector, save_detector
from pretrain.annotate.detectors.trained import TrainedDetector
from pretrain.annotate.detectors.training import DetectorTrainer
from pretrain.clips.augmentation import AugmentationConfig
from pretrain.clips.clip import HAND, LEFT, RIGHT, Boxes, Clip
from pretrain.clips.dataset import Draw
from pretrain.clips.store import ClipStoreWriter
from pretrain.train_detector import TrainDetectorConfig, main, train_detector

LEFT_BOX, RIGHT_BOX, MUG_BOX = (0.1, 0.5, 0.3, 0.8), (0.6, 0.5, 0.9, 0.9), (0.4, 0.4, 0.6, 0.7)


def boxes(frames: int = 2) -> Boxes:
    rows = [(HAND, LEFT, False, LEFT_BOX), (HAND, RIGHT, True, RIGHT_BOX)]
    rows += [("mug", 0, True, MUG_BOX), ("pan", 0, False, (0.0, 0.0, 0.4, 0.2))]
    rows *= frames
    return Boxes(
        frame=np.repeat(np.arange(frames), 4).astype(np.int16),
        track=np.tile(np.arange(4), frames).astype(np.int16),
        category=[row[0] for row in rows],
        side=np.array([row[1] for row in rows], np.int8),
        contact=np.array([row[2] for row in rows]),
        xyxy=np.array([row[3] for row in rows], np.float32),
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clips") / "store"
    random = np.random.default_rng(0)
    clips = [
        Clip(
            frames=random.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8),
            depth=None,
            depth_kind=None,
            masks=None,
            boxes=boxes(),
            camera_pose=None,
            narration="#C C takes the mug",
            caption="",
            distractors=(),
            key=str(number),
            scene="s",
            source="made",
            licence="none",
        )
        for number in range(3)
    ]
    with ClipStoreWriter.create(path, shard=0, attributes={}) as writer:
        writer.append(clips)
    return str(path)


def config(store: str, run_dir: Path, *overrides: str) -> TrainDetectorConfig:
    return compose(
        TrainDetectorConfig,
        "train_detector",
        [
            f"stores=[{store}]",
            f"run_dir={run_dir}",
            "resolution=64",
            "steps=4",
            "device=cpu",
            "pictures=4",
            "training.batch_size=2",
            "training.workers=0",
            "training.save_every=2",
            "training.validate_every=4",
            *overrides,
        ],
    )


# -- pictures and labels ---------------------------------------------------------------------


def test_labels_follow_the_choice_of_objects(store: str):
    touched = StoreExamples([store], "touched")
    assert touched.labels == ("left hand", "right hand", "object")
    assert len(touched) == 6
    picture, found = touched.read(3)
    assert picture.shape == (32, 32, 3)
    assert found.category == ["left hand", "right hand", "object"]
    np.testing.assert_allclose(found.xyxy[2], MUG_BOX)
    named = StoreExamples([store], "named")
    assert named.labels == ("left hand", "right hand", "mug", "pan")
    assert StoreExamples([store], "none").read(0)[1].category == ["left hand", "right hand"]
    nouns = StoreExamples([store], "nouns")
    assert nouns.labels == ("left hand", "right hand", "mug", "pan")
    red = boxes(1)
    red.category = [name.replace("mug", "red mug") for name in red.category]
    assert labeled(red, "nouns", nouns.labels).category[2:] == ["mug", "pan"]
    assert labeled(red, "named", named.labels).category[2:] == ["pan"]
    assert len({named.fingerprint, touched.fingerprint}) == 2
    with pytest.raises(UnknownNameError, match="objects"):
        StoreExamples([store], "all")  # type: ignore[arg-type]


def test_hands_without_a_side_are_no_target():
    sideless = boxes(1)
    sideless.side[:] = 0
    assert labeled(sideless, "none", ()).category == []


def test_a_mirrored_left_hand_is_a_right_hand():
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[:, 0] = 9
    found = labeled(boxes(1), "touched", ())
    turned, flipped = mirrored(picture, found)
    assert turned[0, 7, 0] == 9
    assert flipped.category == ["right hand", "left hand", "object"]
    assert flipped.side.tolist() == [RIGHT, LEFT, 0]
    np.testing.assert_allclose(flipped.xyxy[0], [0.7, 0.5, 0.9, 0.8], atol=1e-6)
    again = mirrored(*mirrored(picture, found))[1]
    np.testing.assert_allclose(again.xyxy, found.xyxy, atol=1e-6)


def test_pictures_of_training_follow_from_seed_and_place(store: str):
    dataset = PictureDataset(StoreExamples([store]), 32, AugmentationConfig(), seed=1)
    whole, found = dataset[Draw(0)]
    np.testing.assert_array_equal(whole.numpy(), dataset.examples.read(0)[0])
    one, other = dataset[Draw(0, 5)], dataset[Draw(0, 5)]
    np.testing.assert_array_equal(one[0].numpy(), other[0].numpy())
    assert not torch.equal(one[0], dataset[Draw(0, 6)][0])
    batch = dataset.collate([dataset[Draw(0)], one])
    assert batch.pictures.shape == (2, 32, 32, 3)
    assert batch.labels[0].tolist() == [0, 1, 2]
    np.testing.assert_allclose(batch.boxes[0][0], [0.2, 0.65, 0.2, 0.3], atol=1e-6)
    assert len(found) == 3


def test_visor_is_read_where_its_pictures_are(tmp_path: Path):
    square = [[0, 0], [108, 0], [108, 108], [0, 108]]
    entities = [{"id": name, "name": name, "segments": [square]} for name in ("cup", "pan")]
    hand = {"id": "h", "name": "left hand", "segments": [square], "in_contact_object": "cup"}
    image = {"image_path": "P01_1/frame_1.jpg", "name": "frame_1.jpg"}
    file = tmp_path / "a.json"
    content = [{"image": image, "annotations": [hand, *entities]}]
    file.write_text(json.dumps({"video_annotations": content}))
    pictures = tmp_path / "pictures"
    (pictures / "P01_1").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"P01_1/frame_1\.jpg"):
        VisorExamples(str(file), str(pictures))
    Image.new("RGB", (96, 54)).save(pictures / "P01_1" / "frame_1.jpg")
    examples = VisorExamples(str(file), str(pictures))
    picture, found = examples.read(0)
    assert picture.shape == (54, 96, 3)
    assert found.category == ["left hand", "object"]
    assert VisorExamples(str(file), str(pictures), "named").labels[2:] == ("cup", "pan")


# -- training --------------------------------------------------------------------------------


def test_a_run_ends_with_a_detector_that_loads(store: str, tmp_path: Path, capsys: Any):
    run = tmp_path / "run"
    main(
        [
            f"stores=[{store}]",
            f"run_dir={run}",
            "kind=d_fine",
            "size=tiny",
            "resolution=64",
            "steps=1",
            "device=cpu",
            "training.batch_size=2",
            "training.workers=0",
        ]
    )
    assert "of the training set" in capsys.readouterr().out
    results = json.loads((run / "results.json").read_text())
    assert results["pictures"] == 6
    assert 0 <= results["best_ap50"] <= 1
    detector = TrainedDetector(str(run / "checkpoints" / "best"), device="cpu")
    assert detector.labels == ("left hand", "right hand", "mug", "pan")
    card = json.loads((run / "checkpoints" / "best" / "card.json").read_text())
    assert card["steps"] == 1


def test_an_interrupted_run_ends_with_the_same_weights(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from safetensors.torch import load_file

    whole = config(store, tmp_path / "whole")
    train_detector(whole)
    stopped = config(store, tmp_path / "stopped")
    optimize = DetectorTrainer._optimize

    def killed(self: DetectorTrainer, batch: Any) -> dict[str, float]:
        if self.step == 3:
            raise KeyboardInterrupt
        return optimize(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(DetectorTrainer, "_optimize", killed)
        with pytest.raises(KeyboardInterrupt):
            train_detector(stopped)
    states = sorted((tmp_path / "stopped/checkpoints/resume").glob("*.safetensors"))
    assert [path.stem for path in states] == ["state_0000002"]
    results, _ = train_detector(stopped)
    weights = [
        load_file(tmp_path / name / "checkpoints/last/model.safetensors")
        for name in ("whole", "stopped")
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
    assert train_detector(stopped)[0] == results  # a finished run is returned as it is


# Step, loss, norm of the gradient.
GOLDEN = {
    "ttfnet": ((2, 8.197649, 7.537551), (4, 7.794105, 8.219260)),
    "rt_detr": ((2, 35.805811, 419.826862), (4, 27.873377, 35.390167)),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_the_curve_stays_what_it_was(kind: str, store: str, tmp_path: Path):
    share = 0.0 if kind == "ttfnet" else 0.1
    settings = (f"kind={kind}", f"training.backbone_share={share}")
    curve = train_detector(config(store, tmp_path, *settings))[0]["curves"]
    entries = [entry for entry in curve if "validation" not in entry]
    for entry, golden in zip(entries, GOLDEN[kind], strict=True):
        assert tuple(entry) == ("step", "loss", "gradient_norm")
        # Another processor rounds differently, and the steps make more of it.
        assert tuple(entry.values()) == pytest.approx(golden, rel=5e-3), entry["step"]


def test_a_loss_that_is_not_finite_stops_before_the_weights_move(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        DetectorTrainer, "_pixels", lambda self, batch: torch.full((2, 3, 64, 64), torch.nan)
    )
    with pytest.raises(TrainingDivergedError, match=r"loss nan.* in step 1\. Lower training"):
        train_detector(config(store, tmp_path))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_precision_that_the_cpu_emulates_is_said_at_the_start(
    store, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    train_detector(config(store, tmp_path, "steps=1", "training.precision=bf16", "device=cpu"))
    assert "no instructions for training.precision=bf16" in capsys.readouterr().err


def test_a_run_with_other_settings_is_refused(store: str, tmp_path: Path):
    train_detector(config(store, tmp_path, "steps=1"))
    with pytest.raises(ResumeMismatchError, match="steps"):
        train_detector(config(store, tmp_path, "steps=2"))


@pytest.mark.parametrize("kind", ["rt_detr", "d_fine", "ttfnet"])
def test_published_weights_take_new_labels(kind: str, tmp_path: Path):
    save_detector(tmp_path, new_detector(kind, "tiny", ["person", "cup"], seed=3), 32, {})
    detector = published_detector(str(tmp_path), None, ["left hand", "right hand", "mug"], seed=0)
    assert detector.config.id2label == {0: "left hand", 1: "right hand", 2: "mug"}
    with torch.inference_mode():
        assert detector.eval()(torch.zeros(1, 3, 64, 64)).logits.shape[-1] == 3
    original = TrainedDetector(str(tmp_path), device="cpu")._model.state_dict()
    name = next(key for key in original if "backbone" in key and key.endswith("weight"))
    assert torch.equal(original[name], detector.state_dict()[name])
    with pytest.raises(WeightsError, match="AutoModelForObjectDetection"):
        published_detector(str(tmp_path / "none"), None, ["hand"], 0)


def test_our_own_kind_is_known_to_a_new_process(tmp_path: Path):
    save_detector(tmp_path, new_detector("ttfnet", "tiny", ["hand"], seed=0), 64, {})
    load = (
        "import sys; from pretrain.annotate.detectors.{} import {} as load; load(sys.argv[1], {})"
    )
    for module, name, rest in (
        ("model", "published_detector", "None, ['hand'], 0"),
        ("trained", "TrainedDetector", "device='cpu'"),
    ):
        command = [sys.executable, "-c", load.format(module, name, rest), str(tmp_path)]
        subprocess.run(command, check=True)


def test_new_weights_come_from_the_seed_alone():
    first, second, third = (new_detector("rt_detr", "tiny", ["a"], seed) for seed in (1, 1, 2))
    before = torch.random.get_rng_state()
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    other = [torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True)]
    assert not all(other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("override", ["kind=yolo", "size=huge", "backbone=resnet"])
def test_a_detector_that_there_is_not_is_refused(override: str):
    with pytest.raises(UnknownNameError, match=override.partition("=")[0]):
        compose(TrainDetectorConfig, "train_detector", ["stores=[clips]", override])


@pytest.mark.parametrize("kind", ["rt_detr", "d_fine", "ttfnet"])
def test_a_backbone_of_imagenet_stays_as_it_is_if_it_is_not_to_learn(
    kind: str, store: str, tmp_path: Path
):
    from egodtm_robot.core.published_models.efficientnet import (
        MEAN,
        SCALE,
        empty_network,
        read_imagenet_weights,
    )
    from egodtm_robot.core.published_models.matching import load_matching

    train_detector(config(store, tmp_path, f"kind={kind}", "objects=touched"))
    labels = ["left hand", "right hand", "object"]
    untrained = new_detector(kind, "tiny", labels, 0, "efficientnet_lite0")
    trained = TrainedDetector(str(tmp_path / "checkpoints" / "last"), device="cpu")._model
    changed = {
        name
        for name, tensor in trained.state_dict().items()
        if not torch.equal(tensor, untrained.state_dict()[name])
    }
    assert changed
    assert not any("backbone" in name for name in changed)
    network = empty_network()
    load_matching(network, read_imagenet_weights(), "imagenet")
    pixels = torch.randint(0, 256, (1, 3, 64, 64)).float()
    with torch.inference_mode():
        own = trained.backbone if kind == "ttfnet" else trained.model.backbone.model
        maps = own(pixels / 255).feature_maps[-3:]
        layers = ["stride8", "stride16", "stride32"]
        expected = network.eval()((pixels - MEAN) / SCALE, layers)
    for found, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_backbone_of_imagenet_learns_but_for_its_statistics(store: str, tmp_path: Path):
    train_detector(config(store, tmp_path, "kind=rt_detr", "training.backbone_share=0.1"))
    labels = ["left hand", "right hand", "mug", "pan"]
    untrained = new_detector("rt_detr", "tiny", labels, 0, "efficientnet_lite0").state_dict()
    trained = TrainedDetector(str(tmp_path / "checkpoints" / "last"), device="cpu")
    own = [name for name in untrained if "backbone" in name]
    changed = {
        name for name in own if not torch.equal(trained._model.state_dict()[name], untrained[name])
    }
    assert any(name.endswith("project.0.weight") for name in changed)
    assert not any("running" in name or "num_batches" in name for name in changed)
    # Its configuration names the backbone, and transformers knows it by importing nothing else.
    assert trained._model.config.backbone_config.model_type == "efficientnet_lite0"


@pytest.mark.parametrize(
    "overrides",
    [
        ["stores=[]"],
        ["visor.annotations=a.json"],
        ["resolution=50"],
        ["resolution=32"],
        ["steps=0"],
        ["pictures=0"],
        ["training.learning_rate=0"],
        ["training.backbone_share=-1"],
        ["training.precision=fp8"],
    ],
)
def test_bad_settings_are_refused(store: str, tmp_path: Path, overrides: list[str]):
    with pytest.raises((ConfigurationError, UnknownNameError), match="Expected|Unknown"):
        train_detector(config(store, tmp_path, *overrides))
