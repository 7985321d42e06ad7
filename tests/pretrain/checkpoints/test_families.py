"""Published files are recognized, get their family's settings, and compute what was published."""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from egodtm_robot.core.errors import CheckpointError, CheckpointMismatchError, EncoderOptionError
from egodtm_robot.encoders.egodtm import EgoDTMEncoder
from pretrain.annotate.depth.egodtm import EgoDTMDepth
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.checkpoints import load_model, save_checkpoint, start_from
from pretrain.checkpoints.families import read_published
from pretrain.evaluate.egodtm import load_egodtm
from pretrain.model import EgoDTM

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
import published_weights as published
from published_weights import SlowModel, as_avion, as_avion_classifier, as_egodtm, as_openai
from tiny_model import tiny_config

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
# In AVION's code, of 255.
AVION_MEAN = [value / 255 for value in (108.3272985, 116.7460125, 104.09373615)]
AVION_STD = [value / 255 for value in (68.5005327, 66.6321579, 70.32316305)]

EGODTM: dict[str, Any] = {
    "causal": False,
    "quick": False,
    "vision_eps": 1e-6,
    "mean": AVION_MEAN,
    "std": AVION_STD,
}
AVION = EGODTM | {"causal": True}
CLIP: dict[str, Any] = {
    "causal": True,
    "quick": True,
    "vision_eps": 1e-5,
    "mean": CLIP_MEAN,
    "std": CLIP_STD,
}
CLOSE = {"atol": 2e-5, "rtol": 2e-5}


def write(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """A file as training scripts leave it: with arguments, an optimizer and numpy's scalars."""
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({n: t.contiguous() for n, t in tensors.items()}, path)
        return path
    held = {
        "epoch": 4,
        "state_dict": tensors,
        "optimizer": {"state": {}, "param_groups": []},
        "best_acc1": np.float64(0.3),
        "args": argparse.Namespace(lr=3e-5),
    }
    torch.save(held, path)
    return path


def clip_of_frames(count: int = published.FRAMES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (count, published.SIDE, published.SIDE, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def ids() -> torch.Tensor:
    tokens = torch.zeros(published.CONTEXT, dtype=torch.int64)
    tokens[:6] = torch.tensor([98, 5, 17, 3, 40, 99])
    return tokens


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("upsampling", [4, 2])
@pytest.mark.parametrize("flash", [True, False])
def test_egodtm_computes_what_its_code_computes(
    flash: bool, upsampling: int, suffix: str, tmp_path: Path
):
    tensors = published.weights(upsampling)
    loaded = load_model(write(tmp_path / f"egodtm{suffix}", as_egodtm(tensors, flash)))
    assert loaded.lacking == frozenset()
    assert loaded.model.config.vision.norm_eps == 1e-6
    slow = SlowModel(tensors, plain=not flash, **EGODTM)
    frames = clip_of_frames()
    with torch.inference_mode():
        video = loaded.model.encode_video(frames[None])
        text = loaded.model.encode_text(ids()[None])
        depths = loaded.model.decode_depth(video.patch_tokens, video.grid).predictions
    class_token, patches = slow.video(frames)
    torch.testing.assert_close(video.class_token[0].double(), class_token, **CLOSE)
    torch.testing.assert_close(video.patch_tokens[0].double(), patches, **CLOSE)
    torch.testing.assert_close(video.embedding[0].double(), slow.video_embedding(frames), **CLOSE)
    torch.testing.assert_close(text[0].double(), slow.text_embedding(ids()), **CLOSE)
    expected = slow.depths(frames)
    assert len(depths) == len(expected)
    for found, wanted in zip(depths, expected, strict=True):
        torch.testing.assert_close(found.depth[0].double(), wanted, **CLOSE)


def test_the_two_builds_of_the_decoder_differ():
    """Or the tests above would not see one taken for the other."""
    tensors, frames = published.weights(), clip_of_frames()
    flash = SlowModel(tensors, plain=False, **EGODTM).depths(frames)
    plain = SlowModel(tensors, plain=True, **EGODTM).depths(frames)
    assert torch.equal(flash[0], plain[0])
    assert (flash[-1] - plain[-1]).abs().max() > 0.01


@pytest.mark.parametrize("flash", [True, False])
def test_avion_gets_causal_text_and_its_colors(flash: bool, tmp_path: Path):
    tensors = published.weights()
    loaded = load_model(write(tmp_path / "avion.pt", as_avion(tensors, flash)))
    assert loaded.lacking == {"depth decoder"}
    slow, frames = SlowModel(tensors, **AVION), clip_of_frames()
    with torch.inference_mode():
        video = loaded.model.encode_video(frames[None]).embedding[0]
        text = loaded.model.encode_text(ids()[None])[0]
    torch.testing.assert_close(video.double(), slow.video_embedding(frames), **CLOSE)
    torch.testing.assert_close(text.double(), slow.text_embedding(ids()), **CLOSE)
    bidirectional = SlowModel(tensors, **EGODTM).text_embedding(ids())
    assert (text - bidirectional).abs().max() > 0.01


def test_clip_gets_quick_gelu_and_its_epsilon(tmp_path: Path):
    tensors = {name: tensor.half().float() for name, tensor in published.weights().items()}
    loaded = load_model(write(tmp_path / "ViT-B-16.pt", as_openai(tensors)))
    assert loaded.lacking == {"depth decoder", "time"}
    # Too small a difference to be seen in the outputs below.
    assert loaded.model.config.vision.norm_eps == loaded.model.config.text.norm_eps == 1e-5
    tensors["visual.temporal_embedding"] = torch.zeros(1, published.WIDTH)
    slow, frames = SlowModel(tensors, **CLIP), clip_of_frames(1)
    with torch.inference_mode():
        video = loaded.model.encode_video(frames[None]).embedding[0]
        text = loaded.model.encode_text(ids()[None])[0]
    torch.testing.assert_close(video.double(), slow.video_embedding(frames), **CLOSE)
    torch.testing.assert_close(text.double(), slow.text_embedding(ids()), **CLOSE)


def test_every_published_tensor_lands(tmp_path: Path):
    tensors = published.weights()
    model = load_model(write(tmp_path / "egodtm.pt", as_egodtm(tensors))).model
    landed = sorted(
        float(tensor.double().sum())
        for name, tensor in model.state_dict().items()
        if name != "logit_scale"
    )
    assert landed == sorted(float(tensor.double().sum()) for tensor in tensors.values())


def test_a_video_encoder_alone_is_enough_where_only_it_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tensors = published.weights()
    path = str(write(tmp_path / "ek100_cls.pt", as_avion_classifier(tensors)))
    frames = clip_of_frames()
    encoder = EgoDTMEncoder(path, output="class", history=4)
    expected, patches = SlowModel(tensors, **AVION).video(frames)
    found = encoder.encode(frames[None].numpy())
    np.testing.assert_allclose(found[0, 0], expected, **CLOSE)
    found = EgoDTMEncoder(path, history=4).encode(frames[None].numpy())
    np.testing.assert_allclose(found[0], patches[-1], **CLOSE)
    assert "AVION" in capsys.readouterr().err
    for output, part in (("depth", "depth decoder"), ("embedding", "projection")):
        with pytest.raises(EncoderOptionError, match=f"with a {part} for output={output}"):
            EgoDTMEncoder(path, output=output)  # type: ignore[arg-type]


def test_what_was_recognized_and_set_stands_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = write(tmp_path / "egodtm.pt", as_egodtm(published.weights(), flash=False))
    EgoDTMEncoder(str(path), output="depth")
    assert capsys.readouterr().err == (
        f"{path}: EgoDTM, 2 blocks of 128 on patches of 16, 4 x 32 px; set by its family: "
        "bidirectional text, gelu, epsilon 1e-06, AVION's colors; decoder of the plain-attention "
        "build\n"
    )


def test_a_published_model_that_is_saved_as_ours_computes_the_same(tmp_path: Path):
    path = write(tmp_path / "egodtm.pt", as_egodtm(published.weights(), flash=False))
    model = load_model(path).model
    save_checkpoint(tmp_path / "ours.safetensors", model, {})
    frames = clip_of_frames()[None].numpy()
    theirs = EgoDTMEncoder(str(path), output="depth", history=4)
    ours = EgoDTMEncoder(str(tmp_path / "ours.safetensors"), output="depth", history=4)
    assert np.array_equal(theirs.encode(frames), ours.encode(frames))
    assert theirs.fingerprint == ours.fingerprint


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["module.visual.blocks.0.timeattn.qkv.weight"], "TimeSformer.*LaViLa"),
        (["module.video_model.blocks.0.attn.qkv.weight", "txt_proj.1.weight"], "TimeSformer"),
        (["vision_model.encoder.layers.0.mlp.fc1.weight"], "encoder=huggingface"),
        (["patch_embed.proj.weight", "blocks.0.attn.qkv.weight"], "Use encoder=vc1"),
        (["module.convnet.conv1.weight"], "Use encoder=r3m"),
    ],
)
def test_files_of_other_models_are_refused_by_name(names: list[str], message: str, tmp_path: Path):
    path = write(tmp_path / "other.pt", {name: torch.zeros(2, 2) for name in names})
    with pytest.raises(CheckpointMismatchError, match=message):
        load_model(path)


def test_names_of_no_family_and_a_missing_card_are_told(tmp_path: Path):
    path = write(tmp_path / "strange.pt", {"layer.weight": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"such as layer\.weight"):
        load_model(path)
    save_checkpoint(tmp_path / "ours.safetensors", EgoDTM(tiny_config(), seed=0), {})
    (tmp_path / "ours.json").unlink()
    with pytest.raises(CheckpointError, match=r"copy ours\.json beside it"):
        load_model(tmp_path / "ours.safetensors")
    with pytest.raises(CheckpointError, match="found no file"):
        load_model(tmp_path / "nothing.pt")


@pytest.mark.parametrize(
    "damaged",
    ["visual.transformer.resblocks.1.ln_1.bias", "visual.conv1.weight", "mask_features.bias"],
)
def test_a_missing_tensor_is_named(damaged: str, tmp_path: Path):
    tensors = published.weights()
    del tensors[damaged]
    path = write(tmp_path / "egodtm.pt", as_egodtm(tensors))
    with pytest.raises(CheckpointMismatchError, match=damaged.replace(".", r"\.")):
        load_model(path)


def test_a_training_starts_from_a_published_file_and_says_what_differs(tmp_path: Path):
    path = write(tmp_path / "avion.pt", as_avion(published.weights()))
    config = read_published(path).config
    config.text.causal = False
    model = EgoDTM(config, seed=1)
    lines: list[str] = []
    lacking = start_from(model, str(path), lines.append)
    assert all(name.startswith("depth_decoder.") for name in lacking)
    assert len(lines) == 1
    assert lines[0].endswith("the model keeps its own settings, unlike model.text.causal=true")
    assert model.config.text.causal is False


def test_a_training_is_told_the_settings_that_a_file_of_other_sizes_needs(tmp_path: Path):
    path = write(tmp_path / "logged.pt", as_egodtm(published.weights(upsampling=2)))
    config = read_published(path).config
    config.depth_decoder.upsampling = 4
    with pytest.raises(CheckpointMismatchError, match=r"model\.depth_decoder\.upsampling=2"):
        start_from(EgoDTM(config, seed=1), str(path))


def test_a_decoder_of_the_other_build_starts_no_training(tmp_path: Path):
    path = write(tmp_path / "plain.pt", as_egodtm(published.weights(), flash=False))
    config = read_published(path).config
    start_from(EgoDTM(config, seed=1), str(path))
    config.depth_decoder.positions_in_values = True
    with pytest.raises(CheckpointMismatchError, match=r"positions_in_values=false"):
        start_from(EgoDTM(config, seed=1), str(path))


def test_published_models_are_evaluated_and_annotate_with_what_they_have(tmp_path: Path):
    tensors, frames = published.weights(), clip_of_frames()
    avion = load_egodtm(str(write(tmp_path / "avion.pt", as_avion(tensors))))
    avion.to(torch.device("cpu"))
    assert not hasattr(avion, "depth")
    assert hasattr(avion, "encode_text")
    egodtm = load_egodtm(str(write(tmp_path / "a.pt", as_egodtm(tensors))))
    assert avion.fingerprint != egodtm.fingerprint
    expected = SlowModel(tensors, **AVION).video_embedding(frames)
    torch.testing.assert_close(avion.encode_video(frames[None])[0].double(), expected, **CLOSE)
    alone = write(tmp_path / "ek100_cls.pt", as_avion_classifier(tensors))
    with pytest.raises(CheckpointError, match="video encoder alone"):
        load_egodtm(str(alone))
    with pytest.raises(AnnotatorOptionError, match="has none"):
        EgoDTMDepth(str(alone))
    annotator = EgoDTMDepth(str(tmp_path / "a.pt"), size=8, device="cpu")
    assert annotator.fingerprint != EgoDTMDepth(size=8, device="cpu").fingerprint
