"""Files of LaViLa, EgoVLP and EgoVLPv2 are recognized and compute what was published."""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional
from transformers import DistilBertTokenizer

from egodtm_robot.core.errors import (
    CheckpointError,
    CheckpointMismatchError,
    ConfigurationError,
    EncoderOptionError,
    ModelInputError,
    WeightsError,
)
from egodtm_robot.encoders import make_encoder
from egodtm_robot.encoders.timesformer import TimeSformerEncoder
from pretrain.checkpoints.timesformers import read_timesformer
from pretrain.evaluate.model import make_video_text_model
from pretrain.evaluate.timesformer import load_timesformer
from pretrain.model.timesformer import TimeSformer, TimeSformerConfig
from pretrain.model.tokenizer import tokenize

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
import published_timesformers as published

LAVILA = {
    "quick": True,
    "eps": 1e-6,
    "mean": [value / 255 for value in (108.3272985, 116.7460125, 104.09373615)],
    "std": [value / 255 for value in (68.5005327, 66.6321579, 70.32316305)],
}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
EGOVLP = {"quick": False, "eps": 1e-6, **IMAGENET}
EGOVLPV2 = {"quick": False, "eps": 1e-5, **IMAGENET}
CLOSE = {"atol": 2e-5, "rtol": 2e-5}
TEXTS = ["a hand takes the cup", "the knife"]


def write(path: Path, tensors: dict[str, torch.Tensor], **more) -> Path:
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
    torch.save(held | more, path)
    return path


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    """A folder with a tokenizer of DistilBERT."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "vocab.txt").write_text("\n".join(published.WORDS))
    DistilBertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "distilbert"}')
    return folder


def clips(frames: int = published.FRAMES, count: int = 1) -> torch.Tensor:
    shape = (count, frames, published.SIDE, published.SIDE, 3)
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def unit(vector: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm()


def distilbert_ids(text: str) -> torch.Tensor:
    ids = [published.WORDS.index(word) for word in ["[CLS]", *text.split(), "[SEP]"]]
    return torch.tensor(ids)


def expect_video(model, tensors, frames, settings) -> torch.Tensor:
    """Check all tokens of a model, and return the class token that was expected."""
    class_token, patches = published.video(tensors, frames[0], **settings)
    found = model.patch_tokens(frames)[0].flatten(1, 2).double()
    torch.testing.assert_close(found, patches, **CLOSE)
    return class_token


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("gate", [False, True])
def test_lavila_computes_what_its_code_computes(gate: bool, suffix: str, tmp_path: Path):
    tensors = published.lavila(gate)
    model = load_timesformer(str(write(tmp_path / f"lavila{suffix}", tensors)), "lavila")
    plain = published.below(tensors, "module.")
    frames = clips()
    class_token = expect_video(model, published.below(plain, "visual."), frames, LAVILA)
    embedding = unit(class_token @ plain["image_projection"].double())
    torch.testing.assert_close(model.encode_video(frames)[0].double(), embedding, **CLOSE)
    for text, found in zip(TEXTS, model.encode_text(TEXTS), strict=True):
        ids = tokenize([text])[0]
        expected = unit(published.clip_text(plain, ids[: int(ids.argmax()) + 1]))
        torch.testing.assert_close(found.double(), expected, **CLOSE)


def test_lavila_with_distilbert_computes_what_its_code_computes(words: Path, tmp_path: Path):
    tensors = published.lavila_distilbert()
    path = str(write(tmp_path / "lavila.pth", tensors))
    model = load_timesformer(path, "lavila", tokenizer=str(words))
    plain = published.below(tensors, "module.")
    for text, found in zip(TEXTS, model.encode_text(TEXTS), strict=True):
        pooled = published.distilbert_text(published.below(plain, "textual."), distilbert_ids(text))
        expected = unit(pooled @ plain["text_projection"].double())
        torch.testing.assert_close(found.double(), expected, **CLOSE)


@pytest.mark.parametrize("converted", [False, True])
def test_egovlp_computes_what_its_code_computes(converted: bool, words: Path, tmp_path: Path):
    tensors = published.egovlp()
    held = tensors
    if converted:
        held = published.converted_by_lavila(tensors)
        tensors = {name: tensor.half().float() for name, tensor in tensors.items()}
    path = str(write(tmp_path / "egovlp.pth", held))
    model = load_timesformer(path, "egovlp", frames=4, tokenizer=str(words))
    plain = {name: t.double() for name, t in published.below(tensors, "module.").items()}
    frames = clips()
    # The file holds 16 times, of which a clip of 4 frames has the first ones.
    class_token = expect_video(model, published.below(plain, "video_model."), frames, EGOVLP)
    embedding = unit(plain["vid_proj.0.weight"] @ class_token + plain["vid_proj.0.bias"])
    torch.testing.assert_close(model.encode_video(frames)[0].double(), embedding, **CLOSE)
    for text, found in zip(TEXTS, model.encode_text(TEXTS), strict=True):
        pooled = published.distilbert_text(
            published.below(plain, "text_model."), distilbert_ids(text)
        )
        expected = unit(plain["txt_proj.1.weight"] @ pooled.relu() + plain["txt_proj.1.bias"])
        torch.testing.assert_close(found.double(), expected, **CLOSE)


class FakeRobertaTokenizer:
    """Ids by the letters of a text: 0 begins, 2 ends and 1 pads, as in RoBERTa."""

    def __len__(self):
        return 30

    @staticmethod
    def ids(text):
        return [0, *(3 + ord(letter) % 26 for letter in text), 2]

    def __call__(self, texts, **options):
        assert options == {
            "return_tensors": "pt",
            "padding": True,
            "truncation": True,
            "max_length": 512,
        }
        rows = [self.ids(text) for text in texts]
        longest = max(len(row) for row in rows)
        return {
            "input_ids": torch.tensor([row + [1] * (longest - len(row)) for row in rows]),
            "attention_mask": torch.tensor(
                [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
            ),
        }

    def get_vocab(self):
        return {"a": 0}


@pytest.mark.parametrize("small", [False, True])
def test_egovlpv2_computes_what_its_code_computes(small: bool, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(
        "pretrain.checkpoints.timesformers.load_tokenizer", lambda _: FakeRobertaTokenizer()
    )
    tensors = published.egovlpv2(small)
    model = load_timesformer(str(write(tmp_path / "egovlpv2.pth", tensors)), "egovlpv2")
    plain = {name: t.double() for name, t in published.below(tensors, "module.").items()}
    frames = clips()

    def projected(part: str, vector: torch.Tensor) -> torch.Tensor:
        if small and part == "vid_proj":
            return plain[f"{part}.0.weight"] @ vector + plain[f"{part}.0.bias"]
        if small:
            return plain[f"{part}.1.weight"] @ vector.relu() + plain[f"{part}.1.bias"]
        vector = (plain[f"{part}.0.weight"] @ vector).relu()
        vector = (plain[f"{part}.2.weight"] @ vector + plain[f"{part}.2.bias"]).relu()
        return plain[f"{part}.4.weight"] @ vector + plain[f"{part}.4.bias"]

    class_token = expect_video(model, published.below(plain, "video_model."), frames, EGOVLPV2)
    embedding = unit(projected("vid_proj", class_token))
    torch.testing.assert_close(model.encode_video(frames)[0].double(), embedding, **CLOSE)
    for text, found in zip(TEXTS, model.encode_text(TEXTS), strict=True):
        ids = torch.tensor(FakeRobertaTokenizer.ids(text))
        pooled = published.roberta_text(published.below(plain, "text_model."), ids)
        torch.testing.assert_close(found.double(), unit(projected("txt_proj", pooled)), **CLOSE)


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("lavila", published.lavila(gate=True)),
        ("lavila", published.lavila_distilbert()),
        ("egovlp", published.egovlp()),
        ("egovlpv2", published.egovlpv2()),
    ],
)
def test_every_tensor_lands(name, tensors, words, tmp_path: Path):
    read = read_timesformer(write(tmp_path / "it.pth", tensors), name)
    model = read.build(text=False)
    landed = {id(tensor) for tensor in read.tensors.values()}
    assert len(model.state_dict()) == len(landed) == len(read.tensors)
    numbers = sum(tensor.numel() for tensor in model.state_dict().values())
    fusion = ("i2t", "t2i", "cross_modal", "mlm", "itm", "module.norm", "module.cls_token")
    own = {
        n: t
        for n, t in tensors.items()
        if "logit_scale" not in n
        and "position_ids" not in n
        and not (name == "egovlpv2" and any(part in n for part in fusion))
    }
    assert numbers == sum(tensor.numel() for tensor in own.values())


@pytest.mark.parametrize(
    ("make", "name", "settings"),
    [
        (published.lavila, "lavila", LAVILA),
        (published.lavila_distilbert, "lavila", LAVILA),
        (published.egovlp, "egovlp", EGOVLP),
        (published.egovlpv2, "egovlpv2", EGOVLPV2),
    ],
)
def test_what_weights_do_not_show_comes_with_the_family(make, name, settings, tmp_path: Path):
    """An epsilon that is off would hide below the tolerance of the tests above."""
    read = read_timesformer(write(tmp_path / "it.pth", make()))
    assert read.family.name == name
    config = read.config
    assert config.activation == ("quick_gelu" if settings["quick"] else "gelu")
    assert config.norm_eps == settings["eps"]
    assert config.mean == pytest.approx(settings["mean"], abs=1e-7)
    assert config.std == pytest.approx(settings["std"], abs=1e-7)
    assert config.heads == published.HEADS


def test_published_sizes_have_the_published_numbers_of_weights():
    """Of LaViLa's and EgoVLP's video encoders, counted with their own code."""
    base = TimeSformer(TimeSformerConfig(pre_norm=True, patch_bias=False))
    assert sum(parameter.numel() for parameter in base.parameters()) == 114_169_344
    long = TimeSformer(TimeSformerConfig(frames=16))
    assert sum(parameter.numel() for parameter in long.parameters()) == 114_177_792


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (published.lavila, "lavila", {"mode": "linear", "align_corners": False}),
        (published.egovlpv2, "egovlpv2", {"mode": "linear", "align_corners": True}),
        (lambda: published.egovlp(4), "egovlp", None),
    ],
)
def test_other_numbers_of_frames_follow_the_familys_loader(make, name, expected, tmp_path: Path):
    read = read_timesformer(write(tmp_path / "it.pth", make()), name)
    time = read.tensors["visual.temporal_embed"]
    assert torch.equal(read.with_frames(3).tensors["visual.temporal_embed"], time[:, :3])
    longer = read.with_frames(9).tensors["visual.temporal_embed"]
    if expected is None:
        assert torch.equal(longer[:, :4], time)
        assert not longer[:, 4:].any()
    else:
        wanted = functional.interpolate(time.transpose(1, 2), 9, **expected).transpose(1, 2)
        torch.testing.assert_close(longer, wanted)
    assert read.with_frames(9).config.frames == 9


def test_fewer_frames_have_the_first_times_and_more_are_refused(tmp_path: Path):
    path = write(tmp_path / "lavila.pth", published.lavila())
    model = load_timesformer(str(path))
    frames = clips(2)
    plain = published.below(published.lavila(), "module.visual.")
    expect_video(model, plain, frames, LAVILA)
    with pytest.raises(ModelInputError, match="1 to 4 frames"):
        model.encode_video(clips(5))


def test_clips_of_any_size_are_prepared_and_batches_change_nothing(tmp_path: Path):
    model = load_timesformer(str(write(tmp_path / "lavila.pth", published.lavila())))
    wide = torch.zeros(1, 2, published.SIDE, 3 * published.SIDE, 3, dtype=torch.uint8)
    squares = clips(2)
    wide[:, :, :, published.SIDE : 2 * published.SIDE] = squares
    assert torch.equal(model.encode_video(wide), model.encode_video(squares))
    many = clips(2, count=11)
    together = model.encode_video(many)
    alone = torch.cat([model.encode_video(clip) for clip in many.split(1)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_the_encoder_shows_the_same_features(tmp_path: Path):
    path = str(write(tmp_path / "lavila.pth", published.lavila()))
    frames = clips(4)
    model = load_timesformer(path)
    patches = make_encoder({"name": "lavila", "checkpoint": path, "history": 4})
    assert (patches.grid, patches.dimension, patches.name) == ((2, 2), published.WIDTH, "lavila")
    found = torch.from_numpy(patches.encode(frames.numpy()))
    torch.testing.assert_close(found, model.patch_tokens(frames)[:, -1].flatten(1, 2))
    embedding = TimeSformerEncoder(path, output="embedding", history=4)
    found = torch.from_numpy(embedding.encode(frames.numpy()))[:, 0]
    torch.testing.assert_close(found, model.encode_video(frames))
    early = TimeSformerEncoder(path, layer=1, grid=1, history=4).encode(frames.numpy())
    assert early.shape == (1, 1, published.WIDTH)
    fingerprints = {
        encoder.fingerprint
        for encoder in (
            patches,
            embedding,
            TimeSformerEncoder(path, history=3),
            TimeSformerEncoder(path, output="class", history=4),
            TimeSformerEncoder(path, layer=1, history=4),
            TimeSformerEncoder(
                str(write(tmp_path / "other.pth", published.lavila(seed=1))), history=4
            ),
        )
    }
    assert len(fingerprints) == 6
    with pytest.raises(EncoderOptionError, match="layer from 1 to 2"):
        TimeSformerEncoder(path, layer=3)


def test_a_classifier_is_an_encoder_without_texts(tmp_path: Path):
    tensors = {n: t for n, t in published.lavila().items() if ".visual." in n}
    tensors |= {"module.fc_cls.0.weight": torch.ones(3, published.WIDTH)}
    tensors |= {"module.fc_cls.0.bias": torch.ones(3)}
    path = str(write(tmp_path / "classifier.pth", tensors))
    assert TimeSformerEncoder(path).encode(clips(1).numpy()).shape == (1, 4, published.WIDTH)
    with pytest.raises(EncoderOptionError, match="no projection|has none"):
        TimeSformerEncoder(path, output="embedding")
    with pytest.raises(CheckpointError, match="video encoder alone"):
        load_timesformer(path)


def test_a_missing_or_wrong_file_is_named_with_where_files_come_from(tmp_path: Path):
    for name, source in [("lavila", "LaViLa"), ("egovlp", "EgoVLP"), ("egovlpv2", "EgoVLPv2")]:
        with pytest.raises(CheckpointError, match=rf"encoder.checkpoint=FILE.*{source}.*MIT"):
            make_encoder(name)
        with pytest.raises(CheckpointError, match=rf"checkpoint=FILE.*{source}.*MIT"):
            make_video_text_model({**{"name": name}})
    with pytest.raises(CheckpointError, match="found none at"):
        load_timesformer(str(tmp_path / "nowhere.pth"), "lavila")
    path = str(write(tmp_path / "egovlp.pth", published.egovlp()))
    with pytest.raises(CheckpointError, match="is one of EgoVLP. Choose egovlp instead of lavila"):
        load_timesformer(path, "lavila")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["visual.blocks.0.norm1.weight", "text_decoder.lm_head.weight"], "narrator"),
        (["transformer.decoder.layers.0.norm1.weight", "obj_proj.0.weight"], "HelpingHands.*c8933"),
        (["visual.transformer.resblocks.0.ln_1.weight"], "read by egodtm"),
        (["visual.blocks.0.norm1.weight", "visual.ln_pre.weight"], "tells its size is missing"),
    ],
)
def test_files_of_other_models_are_named(names, message, tmp_path: Path):
    path = write(tmp_path / "it.pth", {f"module.{name}": torch.ones(3) for name in names})
    with pytest.raises(CheckpointMismatchError, match=message):
        read_timesformer(path)


def test_a_tensor_too_many_or_too_few_is_listed(tmp_path: Path):
    tensors = published.lavila()
    tensors["module.visual.extra"] = torch.ones(1)
    del tensors["module.visual.norm.bias"]
    read = read_timesformer(write(tmp_path / "it.pth", tensors))
    with pytest.raises(CheckpointMismatchError, match=r"norm.bias(.|\n)*visual.extra"):
        read.build()


class Hostile:
    """Leaves a folder behind where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("owned",)


def test_a_hostile_pickle_is_refused_and_nothing_is_run(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "lavila.pth", published.lavila(), args=Hostile())
    with pytest.raises(WeightsError, match="mkdir"):
        read_timesformer(path)
    assert not (tmp_path / "owned").exists()


def test_a_tokenizer_that_is_absent_or_anothers_is_named(words: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = str(write(tmp_path / "egovlp.pth", published.egovlp()))
    with pytest.raises(WeightsError, match="nowhere.*Set video_text_model.tokenizer to it"):
        load_timesformer(path, tokenizer=str(tmp_path / "nowhere"))
    tensors = published.egovlp()
    name = "module.text_model.embeddings.word_embeddings.weight"
    tensors[name] = tensors[name][:5]
    path = str(write(tmp_path / "small.pth", tensors))
    with pytest.raises(ConfigurationError, match="of 5 tokens, got one of 11"):
        load_timesformer(path, tokenizer=str(words))
