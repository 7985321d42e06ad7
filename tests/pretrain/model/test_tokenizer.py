"""CLIP's ids."""

import gzip
import json
from importlib import resources
from pathlib import Path

import ftfy
import pytest
import torch
from transformers import CLIPTokenizer

from pretrain.model import tokenizer
from pretrain.model.tokenizer import CONTEXT, END, START, encode, tokenize

TEXTS = [
    "a photo of a cat",
    "#C C picks up the red mug",
    "#O a man X hands over the knife, then puts it back!",
    "  Mixed   CASE and\tspaces\n",
    "it's 3.5 metres; we'll open the 2nd drawer (left-hand side) — don't",
    "naïve café, crème brûlée, Ünïcode, cafe\u0301",
    "日本語のテキスト и русский 🙂🙂",
    "",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "3D-aware 100% <b>bold</b> a_b_c ½ x² #hashtag @home ...",
]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("a diagram", [320, 22697]),
        ("a dog", [320, 1929]),
        ("hello world!", [3306, 1002, 256]),
    ],
)
def test_ids_are_the_published_ones(text: str, ids: list[int]):
    tokens = tokenize([text])
    assert tokens.dtype == torch.int64
    assert tokens.shape == (1, CONTEXT)
    assert tokens[0, : len(ids) + 2].tolist() == [START, *ids, END]
    assert not tokens[0, len(ids) + 2 :].any()


def test_ids_equal_those_of_transformers_from_the_same_merges(tmp_path: Path):
    packed = resources.files("pretrain.model") / "clip_vocabulary" / "merges.txt.gz"
    merges = gzip.decompress(packed.read_bytes()).decode()
    _, ids = tokenizer._vocabulary()
    assert len(ids) == START
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    marks = {"<|startoftext|>": START, "<|endoftext|>": END}
    (tmp_path / "vocab.json").write_text(json.dumps(ids | marks), encoding="utf-8")
    theirs = CLIPTokenizer.from_pretrained(str(tmp_path))
    for text in TEXTS:
        assert [START, *encode(text), END] == theirs(text)["input_ids"], text


def test_texts_that_are_too_long_keep_their_end():
    tokens = tokenize(["cat " * 100, "cat"])
    assert tokens[0, 0] == START
    assert tokens[0, -1] == END
    assert tokens[0, 1:-1].unique().tolist() == [2368]
    assert tokens.argmax(dim=1).tolist() == [76, 2]


def test_entities_are_read_as_the_web_writes_them():
    assert encode("salt &amp;amp; pepper") == encode("salt & pepper")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("it\u2019s the \u201cred\u201d mug", 'it\'s the "red" mug'),
        ("a \ufb01sh in the co\ufb00ee", "a fish in the coffee"),
        ("\uff23 \uff23 opens the \uff24oor", "c c opens the door"),
        ("\ufeffa \x00cat\x07", "a cat"),
        ("a \x1b[31mred\x1b[0m cat", "a red cat"),
        ("a caf\u00c3\u00a9", "a café"),
        ("\u01c6ep", "džep"),
    ],
)
def test_texts_are_cleaned_as_by_openai(written: str, read: str):
    assert encode(written) == encode(read)


def test_plain_texts_need_no_repair():
    """Or the short way past ftfy would give other ids."""
    for code in range(32, 127):
        text = f"a {chr(code)} cat{chr(code)}s {chr(code) * 3}"
        assert ftfy.fix_text(text) == text or "&" in text


def test_a_typographic_apostrophe_gives_the_published_ids():
    assert encode("it\u2019s") == [585, 568]


def test_no_texts_give_no_rows():
    assert tokenize([]).shape == (0, CONTEXT)
