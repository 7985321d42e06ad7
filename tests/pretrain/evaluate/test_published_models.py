"""CLIP and SigLIP frame by frame, and the evaluation command with published models."""

import json
import sys
from pathlib import Path

import pytest
import torch
import transformers
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from egodtm_robot.core.errors import CheckpointError, ConfigurationError, WeightsError
from pretrain.evaluate.__main__ import main
from pretrain.evaluate.egodtm import load_egodtm
from pretrain.evaluate.frame_models import load_frame_model
from pretrain.evaluate.model import make_video_text_model
from pretrain.model.tokenizer import tokenize

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
import published_timesformers as timesformers
import published_weights as published
from fake_clips import make_store

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
SIDE = 32
PROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": SIDE},
    "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE},
    "resample": 3,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
WORDS = ["<pad>", "<eos>", "<unk>", "a", "hand", "takes", "the", "cup"]


def save(folder: Path, model, processor: dict = PROCESSOR) -> Path:
    for parameter in model.parameters():
        # Larger than the initial weights, so that a part that is lacking shows.
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def clip_model(**text) -> transformers.CLIPModel:
    tokens = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
    config = transformers.CLIPConfig(
        vision_config={**SIZES, "image_size": SIDE, "patch_size": 16},
        text_config={**SIZES, **tokens, **text},
        projection_dim=16,
    )
    return transformers.CLIPModel(config)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return save(tmp_path_factory.mktemp("clip"), clip_model())


@pytest.fixture(scope="module")
def siglip(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("siglip")
    config = transformers.SiglipConfig(
        vision_config={**SIZES, "image_size": SIDE, "patch_size": 16},
        text_config={**SIZES, "vocab_size": len(WORDS), "max_position_embeddings": 8},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save(folder, transformers.SiglipModel(config))
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("$A <eos>", special_tokens=[("<eos>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


def clips(count: int = 2, frames: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, frames, SIDE, SIDE, 3)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def pixels_of(frames: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor(PROCESSOR["image_mean"]), torch.tensor(PROCESSOR["image_std"])
    return ((frames / 255 - mean) / std).permute(0, 3, 1, 2)


def test_a_clip_is_the_mean_of_its_frames_in_clip(clip: Path):
    theirs = transformers.CLIPModel.from_pretrained(clip).eval()
    ours = load_frame_model(str(clip))
    frames = clips()
    with torch.no_grad():
        for clip_frames, found in zip(frames, ours.encode_video(frames), strict=True):
            pooled = theirs.vision_model(pixel_values=pixels_of(clip_frames)).pooler_output
            each = functional.normalize(theirs.visual_projection(pooled), dim=-1)
            torch.testing.assert_close(found, functional.normalize(each.mean(0), dim=0))
        texts = ["#C C takes the cup", "it\u2019s a hand"]
        pooled = theirs.text_model(input_ids=tokenize(texts)).pooler_output
        expected = functional.normalize(theirs.text_projection(pooled), dim=-1)
    torch.testing.assert_close(ours.encode_text(texts), expected)
    assert ours.patch_tokens(frames).shape == (2, 3, 2, 2, 32)
    assert (ours.resolution, ours.frames) == (SIDE, None)


def test_a_clip_is_the_mean_of_its_frames_in_siglip(siglip: Path):
    theirs = transformers.SiglipModel.from_pretrained(siglip).eval()
    ours = load_frame_model(str(siglip))
    frames = clips()
    with torch.no_grad():
        for clip_frames, found in zip(frames, ours.encode_video(frames), strict=True):
            pooled = theirs.vision_model(pixel_values=pixels_of(clip_frames)).pooler_output
            each = functional.normalize(pooled, dim=-1)
            torch.testing.assert_close(found, functional.normalize(each.mean(0), dim=0))
        # Lower case, the end mark, and padding to the full length without a mask.
        ids = torch.tensor([[3, 4, 5, 6, 7, 1, 0, 0]])
        pooled = theirs.text_model(input_ids=ids).pooler_output
    expected = functional.normalize(pooled, dim=-1)
    torch.testing.assert_close(ours.encode_text(["A hand takes the CUP"]), expected)


def test_what_decides_embeddings_is_in_the_fingerprint(clip: Path, tmp_path: Path):
    fingerprint = load_frame_model(str(clip)).fingerprint
    assert load_frame_model(str(clip)).fingerprint == fingerprint
    other = tmp_path / "other"
    transformers.CLIPModel.from_pretrained(clip).save_pretrained(other)
    gray = {**PROCESSOR, "image_mean": [0.5, 0.5, 0.5]}
    (other / "preprocessor_config.json").write_text(json.dumps(gray))
    assert load_frame_model(str(other)).fingerprint != fingerprint


def test_other_models_of_transformers_are_named(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    vit = transformers.ViTModel(transformers.ViTConfig(**SIZES, image_size=SIDE))
    vit.save_pretrained(tmp_path / "vit")
    with pytest.raises(ConfigurationError, match="a CLIP or a SigLIP, .* is of type vit"):
        load_frame_model(str(tmp_path / "vit"))
    short = save(tmp_path / "short", clip_model(vocab_size=64, eos_token_id=63, bos_token_id=62))
    with pytest.raises(ConfigurationError, match="over its 49408 tokens, .* has 64"):
        load_frame_model(str(short))
    with pytest.raises(WeightsError, match="nowhere"):
        make_video_text_model({"name": "clip", "model": str(tmp_path / "nowhere")})


def test_avion_is_checked_and_its_times_are_cut(tmp_path: Path):
    tensors = published.weights()
    path = tmp_path / "avion.pt"
    torch.save({"state_dict": published.as_avion(tensors, True)}, path)
    model = make_video_text_model({"name": "avion", "checkpoint": str(path), "frames": 2})
    time = model.model.visual.temporal_embedding
    assert torch.equal(time, tensors["visual.temporal_embedding"][:2])
    assert model.frames == 2
    longer = load_egodtm(str(path), frames=8).model.visual.temporal_embedding
    assert longer.shape == (8, published.WIDTH)
    torch.save({"state_dict": published.as_egodtm(tensors, True)}, path)
    with pytest.raises(CheckpointError, match="a file of AVION, .* is one of EgoDTM"):
        load_egodtm(str(path), "avion")
    with pytest.raises(CheckpointError, match=r"checkpoint=FILE, weights of AVION.*\(MIT\)"):
        make_video_text_model("avion")
    with pytest.raises(CheckpointError, match="is a checkpoint of pretrain.run. Choose egodtm"):
        load_egodtm("egodtm_tiny", "avion")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("store") / "clips"
    make_store(path, range(34))
    return path


@pytest.mark.parametrize("name", ["lavila", "clip"])
def test_the_command_measures_a_published_model(name, clip, store, tmp_path: Path):
    own = [f"video_text_model.model={clip}"]
    if name == "lavila":
        file = tmp_path / "lavila.pth"
        torch.save({"state_dict": timesformers.lavila()}, file)
        own = [f"video_text_model.checkpoint={file}"]
    main(
        [
            f"video_text_model={name}",
            *own,
            f"data.path={store}",
            "data.clips=34",
            "tasks=[retrieval,multiple_choice]",
            f"cache={tmp_path / 'embeddings'}",
            f"run_dir={tmp_path / 'run'}",
            "device=cpu",
            "threads=1",
        ]
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["model"]["name"].startswith(f"{name}:")
    assert set(results["tasks"]) == {"retrieval", "multiple_choice"}
    assert results["tasks"]["retrieval"]["items"] > 0


def test_a_checkpoint_of_changes_offers_what_was_trained_in_its_base():
    changed, whole = load_egodtm("egodtm_tiny_looks"), load_egodtm("egodtm_tiny")
    for part in ("encode_text", "depth"):
        assert hasattr(changed, part)
        assert hasattr(whole, part)
    assert not hasattr(changed, "boxes")
