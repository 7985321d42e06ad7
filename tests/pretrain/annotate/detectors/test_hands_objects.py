"""Detectors of hands and objects: what they choose, and how they load."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from egodtm_robot.core.errors import EgoDTMRobotError, UnknownNameError, WeightsError
from pretrain.annotate.detectors.base import Detector, FrameBoxes, complete
from pretrain.annotate.detectors.combined import CombinedDetector
from pretrain.annotate.detectors.handtrack import CLASSES, Handtrack, choose
from pretrain.annotate.detectors.model import new_detector, save_detector
from pretrain.annotate.detectors.trained import TrainedDetector
from pretrain.annotate.detectors.truth import TrueBoxes
from pretrain.annotate.detectors.zero_shot import ZeroShotDetector
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.annotate.stage import AnnotationFailure
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.clip import HAND, LEFT, NO_SIDE, RIGHT, Boxes, Clip
from pretrain.clips.store import ClipStoreWriter

NARRATION = "#C C picks up the red mug"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "?", "hand", "red", "mug", "a", "photo", "of"]


def clip(frames: int = 2, size: tuple[int, int] = (40, 48), seed: int = 0) -> AnnotatedClip:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    return AnnotatedClip("k", pixels, np.arange(frames) * 1.0, NARRATION, "s", "made", "none")


def found(*rows: tuple[str, float, tuple[float, ...]]) -> FrameBoxes:
    return FrameBoxes(
        [row[0] for row in rows],
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
    )


class Fixed(Detector):
    """Finds the same in every frame."""

    def __init__(self, boxes: FrameBoxes, name: str = "fixed") -> None:
        super().__init__(name, name, batch_size=1)
        self.boxes = boxes

    def detect(self, clip: AnnotatedClip) -> list[FrameBoxes]:
        return [self.boxes for _ in clip.frames]


# -- what all detectors share ------------------------------------------------------------------


def test_sides_and_contact_are_added_to_what_was_found():
    first = found((HAND, 0.9, (0.6, 0.4, 0.8, 0.6)), ("mug", 0.7, (0.7, 0.5, 0.9, 1.2)))
    second = found((HAND, 0.8, (0.1, 0.4, 0.2, 0.6)), (HAND, 1.5, (0.6, 0.4, 0.8, 0.6)))
    detections = complete([first, FrameBoxes.empty(), second], None, None)
    assert detections.frame.tolist() == [0, 0, 2, 2]
    assert detections.category == [HAND, "mug", HAND, HAND]
    assert detections.side.tolist() == [RIGHT, NO_SIDE, LEFT, RIGHT]
    assert detections.contact.tolist() == [True, True, False, False]
    assert detections.xyxy.max() <= 1  # what reaches beyond the image is cut off
    assert detections.score.tolist() == pytest.approx([0.9, 0.7, 0.8, 1.0])
    for name, dtype in (("frame", np.int16), ("side", np.int8), ("xyxy", np.float32)):
        assert getattr(detections, name).dtype == dtype


def test_sides_that_a_detector_tells_are_kept():
    boxes = found((HAND, 0.9, (0.1, 0.1, 0.2, 0.2)), ("mug", 0.5, (0.5, 0.5, 0.6, 0.6)))
    boxes.side = np.array([RIGHT, NO_SIDE], np.int8)
    assert complete([boxes], None, None).side.tolist() == [RIGHT, NO_SIDE]


def test_nothing_found_is_no_failure():
    detections = complete([FrameBoxes.empty()] * 3, None, None)
    assert len(detections) == 0
    assert detections.xyxy.shape == (0, 4)


# -- handtrack ---------------------------------------------------------------------------------


def anchors(*rows: tuple[tuple[float, float, float, float], str, float]) -> tuple[np.ndarray, Any]:
    boxes = np.array([row[0] for row in rows], np.float32)[:, [1, 0, 3, 2]]
    scores = np.full((len(rows), len(CLASSES)), 0.01, np.float32)
    for index, (_, name, score) in enumerate(rows):
        scores[index, CLASSES.index(name)] = score
    return boxes, scores


ONE, SAME, OTHER = (0.1, 0.2, 0.3, 0.5), (0.11, 0.2, 0.31, 0.5), (0.6, 0.6, 0.9, 0.8)


def test_handtrack_keeps_the_surest_hand_of_a_place():
    boxes, scores = anchors((ONE, "open", 0.6), (SAME, "closed", 0.8), (OTHER, "pinch", 0.5))
    kept = choose(boxes, scores, [1, 2, 3, 4], 0.4, 0.3, 1.0, 4)
    np.testing.assert_allclose(kept.xyxy, [SAME, OTHER])  # left, top, right, bottom
    np.testing.assert_allclose(kept.score, [0.8, 0.5])
    assert len(choose(boxes, scores, [1, 2, 3, 4], 0.4, 0.3, 1.0, 1)) == 1
    assert len(choose(boxes, scores, [1], 0.4, 0.3, 1.0, 4)) == 1


def test_handtrack_takes_no_face_no_fingertip_and_nothing_huge_for_a_hand():
    boxes, scores = anchors(
        (ONE, "face", 0.9), (OTHER, "pointtip", 0.9), ((0.0, 0.0, 0.9, 0.9), "open", 0.9)
    )
    scores[0, CLASSES.index("open")] = 0.6
    assert len(choose(boxes, scores, [1, 2, 3, 4], 0.4, 0.3, 0.25, 4)) == 0
    assert len(choose(boxes, scores, [1, 2, 3, 4], 0.4, 0.3, 1.0, 4)) == 1


def test_handtrack_finds_hands_in_real_video(sample: Callable[[str], Path]):
    import imageio.v3 as imageio

    weights = sample("models/handtrack.onnx")
    frames = imageio.imread(sample("data/ego/ego4d_clips/tokyo.mp4"), plugin="FFMPEG")
    shown = clip()
    shown.frames = frames[134:152:17]  # both hands at a table
    detector = Handtrack(str(weights))
    (result,) = detector.annotate([shown])
    hands = result["detections"]  # type: ignore[index]
    assert set(hands.frame.tolist()) == {0, 1}
    assert (hands.score >= 0.4).all()
    middle = (hands.xyxy[:, :2] + hands.xyxy[:, 2:]) / 2
    assert (middle[:, 1] > 0.5).any()
    assert set(hands.side.tolist()) <= {LEFT, RIGHT}
    assert detector.fingerprint != Handtrack(str(weights), threshold=0.5).fingerprint


def test_handtracks_bad_weights_and_options_are_named(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"docs/reference/annotators\.md"):
        Handtrack(str(tmp_path / "none.onnx"))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(WeightsError, match="could not read"):
        Handtrack(str(broken))
    with pytest.raises(UnknownNameError, match="face"):
        Handtrack(str(broken), classes=["face"])
    with pytest.raises(AnnotatorOptionError, match="threshold"):
        Handtrack(str(broken), threshold=1.0)


# -- zero-shot detectors -----------------------------------------------------------------------


def save_tokenizer(folder: Path, kind: str) -> None:
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if kind == "owlv2":
        # OWL takes the largest id for the end of a text, and 0 at its start for no text at all.
        tokenizer.add_special_tokens(["<start>", "<end>"])
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<start> $A <end>", special_tokens=[("<start>", 12), ("<end>", 13)]
        )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
    ).save_pretrained(folder)


def owlv2() -> Any:
    text = {
        "vocab_size": 16,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "bos_token_id": 12,
        "eos_token_id": 13,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = transformers.Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    return transformers.Owlv2ForObjectDetection(config)


def grounding_dino() -> Any:
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            window_size=2,
            image_size=32,
            out_indices=[2, 3, 4],
        ),
        text_config=transformers.BertConfig(
            vocab_size=16,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        ),
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        num_queries=10,
        num_feature_levels=4,
        text_enhancer_dropout=0.0,
        fusion_droppath=0.0,
    )
    return transformers.GroundingDinoForObjectDetection(config)


ZERO_SHOT: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "owlv2": (owlv2, {"size": {"height": 32, "width": 32}, "resample": 2}),
    "grounding-dino": (
        grounding_dino,
        {"size": {"shortest_edge": 64, "longest_edge": 96}, "resample": 2},
    ),
}


@pytest.fixture(scope="module")
def zero_shot(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    folders: dict[str, str] = {}

    def saved(kind: str) -> str:
        if kind not in folders:
            folder = tmp_path_factory.mktemp(kind)
            make, processor = ZERO_SHOT[kind]
            with torch.random.fork_rng():
                torch.manual_seed(0)
                make().save_pretrained(folder)
            (folder / "preprocessor_config.json").write_text(json.dumps(processor))
            save_tokenizer(folder, kind)
            folders[kind] = str(folder)
        return folders[kind]

    return saved


@pytest.mark.parametrize("kind", sorted(ZERO_SHOT))
def test_zero_shot_detectors_look_for_what_the_narration_names(kind: str, zero_shot: Any):
    detector = ZeroShotDetector(zero_shot(kind), threshold=1e-4, device="cpu")
    assert detector.phrases(NARRATION) == [HAND, "red mug"]
    shown = clip()
    boxes, scores = detector.scores(shown.frames, detector.phrases(NARRATION))
    assert boxes.shape == (2, scores.shape[1], 4)
    assert scores.shape[2] == 2
    assert (scores > 0).all()
    assert (scores < 1).all()
    (result,) = detector.annotate([shown])
    detections = result["detections"]  # type: ignore[index]
    assert len(detections)
    assert set(detections.category) <= {HAND, "red mug"}
    for frame in (0, 1):
        own = [c for c, f in zip(detections.category, detections.frame, strict=True) if f == frame]
        assert own.count("red mug") <= 2
        assert own.count(HAND) <= 4
    again = detector.annotate([clip(seed=1), shown])[1]["detections"]  # type: ignore[index]
    np.testing.assert_array_equal(again.xyxy, detections.xyxy)
    without = ZeroShotDetector(zero_shot(kind), hands=False, also=["cup"], device="cpu")
    assert without.phrases(NARRATION) == ["red mug", "cup"]
    assert without.phrases("#C C waits") == ["cup"]
    assert without.fingerprint != detector.fingerprint


def test_a_phrase_of_grounding_dino_scores_as_its_best_word_of_one_sentence(zero_shot: Any):
    from transformers import AutoTokenizer

    path = zero_shot("grounding-dino")
    detector = ZeroShotDetector(path, device="cpu")
    frames = clip(frames=1).frames
    _, scores = detector.scores(frames, ["hand", "red mug"])
    model = transformers.GroundingDinoForObjectDetection.from_pretrained(path).eval()
    tokens = AutoTokenizer.from_pretrained(path).convert_tokens_to_ids(
        ["[CLS]", "hand", ".", "red", "mug", ".", "[SEP]"]
    )
    shown = detector._shown(torch.from_numpy(frames))
    assert tuple(shown.pixels.shape[-2:]) == (64, 77)  # the shorter side is brought to 64
    with torch.inference_mode():
        outputs = model(pixel_values=shown.pixels, input_ids=torch.tensor([tokens]))
    words = outputs.logits.sigmoid()[0]
    np.testing.assert_allclose(scores[0, :, 0], words[:, 1], rtol=1e-5)
    np.testing.assert_allclose(scores[0, :, 1], words[:, 3:5].amax(dim=1), rtol=1e-5)


def test_boxes_of_owlv2_are_shares_of_the_picture_without_its_padding(zero_shot: Any):
    detector = ZeroShotDetector(zero_shot("owlv2"), device="cpu")
    wide = detector._shown(torch.zeros(1, 20, 40, 3, dtype=torch.uint8))
    assert wide.extent == (1.0, 2.0)
    assert tuple(wide.pixels.shape) == (1, 3, 32, 32)
    high = detector._shown(torch.zeros(1, 40, 20, 3, dtype=torch.uint8))
    assert high.extent == (2.0, 1.0)


def test_bad_zero_shot_models_are_named(zero_shot: Any, tmp_path: Path):
    with pytest.raises(AnnotatorOptionError, match="threshold"):
        ZeroShotDetector(zero_shot("owlv2"), threshold=0)
    with pytest.raises(WeightsError, match="preprocessor_config"):
        ZeroShotDetector(str(tmp_path))
    folder = tmp_path / "words"
    with torch.random.fork_rng():
        owlv2().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text("{}")
    with pytest.raises(WeightsError, match="tokenizer"):
        ZeroShotDetector(str(folder), device="cpu")


# -- detectors with classes of their own -------------------------------------------------------

LABELS = ("left hand", "right hand", "mug")


@pytest.mark.parametrize("kind", ["rt_detr", "d_fine"])
def test_trained_detectors_tell_sides_and_names(kind: str, tmp_path: Path):
    save_detector(tmp_path, new_detector(kind, "tiny", LABELS, seed=0), 64, {"steps": 1})
    detector = TrainedDetector(
        str(tmp_path), threshold=1e-4, narrated_threshold=1e-4, most_boxes=9, device="cpu"
    )
    assert detector.labels == LABELS
    assert detector.preprocessing.size == (64, 64)
    (result,) = detector.annotate([clip()])
    detections = result["detections"]  # type: ignore[index]
    assert len(detections) == 18
    for name, side in zip(detections.category, detections.side, strict=True):
        assert (name == HAND) == (side in (LEFT, RIGHT))
    assert detector.fingerprint != TrainedDetector(str(tmp_path), device="cpu").fingerprint


def test_less_has_to_be_seen_of_what_the_narration_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    labels = (*LABELS, "pan")
    save_detector(tmp_path, new_detector("rt_detr", "tiny", labels, seed=0), 64, {})
    detector = TrainedDetector(str(tmp_path), threshold=0.4, narrated_threshold=0.2, device="cpu")
    # A mug that may be a pan, a pan that may be a mug, a hand and a mug that are hardly there.
    scores = torch.tensor(
        [[0, 0, 0.25, 0.38], [0, 0, 0.21, 0.5], [0.3, 0, 0, 0], [0, 0.05, 0.1, 0]]
    )
    outputs = SimpleNamespace(
        logits=torch.logit(scores, eps=1e-6).expand(2, -1, -1),
        pred_boxes=torch.eye(4).mul(0.5).add(0.2).expand(2, -1, -1),  # four places
    )
    monkeypatch.setattr(detector, "_model", lambda pixel_values: outputs)
    named = clip()
    named.narration = "#C C washes the red mugs"
    assert detector.detect(named)[0].category == ["pan", "mug"]
    named.narration = "#C C washes the knife"
    assert detector.detect(named)[0].category == ["pan"]


def test_one_place_holds_one_thing_and_a_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_detector(tmp_path, new_detector("rt_detr", "tiny", (*LABELS, "pan"), seed=0), 64, {})
    detector = TrainedDetector(str(tmp_path), threshold=0.4, narrated_threshold=0.2, device="cpu")
    scores = torch.tensor(
        [[0.6, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0.45, 0], [0, 0, 0, 0.6], [0, 0, 0.3, 0]]
    )
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.4]] * 4 + [[0.2, 0.2, 0.1, 0.1]])
    outputs = SimpleNamespace(
        logits=torch.logit(scores, eps=1e-6).expand(2, -1, -1), pred_boxes=boxes.expand(2, -1, -1)
    )
    monkeypatch.setattr(detector, "_model", lambda pixel_values: outputs)
    silent = clip()
    silent.narration = "#C C looks around"
    first = detector.detect(silent)[0]
    assert first.category == [HAND, "pan"]
    assert first.side is not None
    assert first.side.tolist() == [LEFT, NO_SIDE]
    # The mug is narrated: 0.45 of it is more than 0.6 of a pan.
    assert detector.detect(clip())[0].category == [HAND, "mug", "mug"]


def test_a_saved_detector_answers_as_the_one_in_memory(tmp_path: Path):
    network = new_detector("rt_detr", "tiny", LABELS, seed=0).eval()
    save_detector(tmp_path, network, 64, {})
    loaded = TrainedDetector(str(tmp_path), device="cpu")._model
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(loaded(pixels).logits, network(pixels).logits)


def test_other_kinds_of_detectors_are_refused(tmp_path: Path):
    config = transformers.YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[32, 32],
        patch_size=16,
        num_detection_tokens=4,
    )
    with torch.random.fork_rng():
        transformers.YolosForObjectDetection(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"size": {"height": 32, "width": 32}})
    )
    with pytest.raises(AnnotatorOptionError, match="yolos"):
        TrainedDetector(str(tmp_path), device="cpu")


# -- two detectors as one, and truth -----------------------------------------------------------


def test_hands_of_one_detector_and_objects_of_another():
    hands = Fixed(found((HAND, 0.9, (0.1, 0.1, 0.3, 0.3)), ("mug", 0.9, (0.5, 0.5, 0.6, 0.6))), "h")
    objects = Fixed(
        found(
            (HAND, 0.9, (0.7, 0.7, 0.9, 0.9)),
            ("glove", 0.9, (0.1, 0.1, 0.3, 0.31)),
            ("pan", 0.8, (0.25, 0.2, 0.6, 0.6)),
        ),
        "o",
    )
    both = CombinedDetector(hands, objects)
    (result,) = both.annotate([clip(frames=1)])
    detections = result["detections"]  # type: ignore[index]
    assert detections.category == [HAND, "pan"]  # the glove is the hand itself
    assert detections.contact.all()
    assert both.name == "h+o"
    assert both.fingerprint != CombinedDetector(objects, hands).fingerprint
    nothing = Fixed(FrameBoxes.empty(), "n")
    assert not len(CombinedDetector(nothing, nothing).detect(clip(frames=1))[0])


def test_a_combination_makes_its_detectors_from_options(tmp_path: Path):
    save_detector(tmp_path, new_detector("rt_detr", "tiny", LABELS, seed=0), 64, {})
    options = {
        "_target_": "pretrain.annotate.detectors.trained.TrainedDetector",
        "model": str(tmp_path),
        "device": "cpu",
    }
    both = CombinedDetector(options, {**options, "threshold": 0.3})
    assert both.name == "rt_detr+rt_detr"
    with pytest.raises(EgoDTMRobotError, match="weights"):
        CombinedDetector(
            {"_target_": "pretrain.annotate.detectors.handtrack.Handtrack", "weights": "???"},
            options,
        )
    with pytest.raises(AnnotatorOptionError, match="detector"):
        CombinedDetector(both, 3)  # type: ignore[arg-type]


def test_true_boxes_come_from_the_store_by_row(tmp_path: Path):
    boxes = Boxes(
        frame=np.array([1], np.int16),
        track=np.array([4], np.int16),
        category=["mug"],
        side=np.zeros(1, np.int8),
        contact=np.ones(1, bool),
        xyxy=np.array([[0.1, 0.2, 0.3, 0.4]], np.float32),
    )
    stored = Clip(
        frames=np.zeros((2, 8, 8, 3), np.uint8),
        depth=None,
        depth_kind=None,
        masks=None,
        boxes=boxes,
        camera_pose=None,
        narration="#C C waits",
        caption="",
        distractors=(),
        key="a",
        scene="s",
        source="made",
        licence="none",
    )
    with ClipStoreWriter.create(tmp_path / "store", shard=0, attributes={}) as writer:
        writer.append([stored])
    annotator = TrueBoxes(str(tmp_path / "store"))
    known, unknown = clip(), clip()
    known.extra["row"] = 0
    first, second = annotator.annotate([known, unknown])
    assert first["detections"].contact.tolist() == [True]  # type: ignore[index]
    assert first["detections"].frame.tolist() == [1]  # type: ignore[index]
    assert isinstance(second, AnnotationFailure)
