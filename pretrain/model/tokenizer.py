"""CLIP's byte-pair tokenizer: the same ids as OpenAI's.

Texts are cleaned as OpenAI's code cleans them: ftfy straightens quotes, takes ligatures and
full-width letters apart, drops control characters and repairs broken encodings. The merges come
with the package, because the packages that publish them (``open_clip_torch``, ``clip-anytorch``)
need torchvision.
"""

import functools
import gzip
import html
from collections.abc import Sequence
from importlib import resources
from itertools import pairwise

import ftfy
import regex
import torch

START = 49406
"""Id before a text."""

END = 49407
"""Id behind a text, the highest of all: the text encoder finds it by that."""

CONTEXT = 77
"""Ids that a text has at most, both marks included."""

_WORDS = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)
_MARKS = {"<|startoftext|>": START, "<|endoftext|>": END}
_WORD_END = "</w>"


def tokenize(texts: Sequence[str], context: int = CONTEXT) -> torch.Tensor:
    """Turn texts into ids.

    Args:
        texts: of any length; what does not fit is cut off before the end mark.
        context: ids a text has at most.

    Returns:
        int64 (B, context), zero behind the end mark.
    """
    tokens = torch.zeros((len(texts), context), dtype=torch.int64)
    for row, text in enumerate(texts):
        ids = [START, *encode(text)[: context - 2], END]
        tokens[row, : len(ids)] = torch.tensor(ids)
    return tokens


def encode(text: str) -> list[int]:
    """The ids of a text, without marks of start and end."""
    clean = " ".join(_repaired(text).split()).lower()
    return [token for word in _WORDS.findall(clean) for token in _word_ids(word)]


def _repaired(text: str) -> str:
    """A text without typographic variants, broken encodings and HTML entities."""
    if text.isascii() and text.isprintable() and "&" not in text:
        return text  # nothing to repair, and finding that out would take as long as the rest
    return html.unescape(html.unescape(ftfy.fix_text(text)))


@functools.lru_cache(maxsize=65536)
def _word_ids(word: str) -> tuple[int, ...]:
    """Ids of one word: its bytes, merged pair by pair in the order of the merges' ranks."""
    if word in _MARKS:
        return (_MARKS[word],)
    ranks, ids = _vocabulary()
    letters = _byte_letters()
    parts = [letters[byte] for byte in word.encode("utf-8")]
    parts[-1] += _WORD_END
    while len(parts) > 1:
        pairs = set(pairwise(parts))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged: list[str] = []
        place = 0
        while place < len(parts):
            if tuple(parts[place : place + 2]) == best:
                merged.append(parts[place] + parts[place + 1])
                place += 2
            else:
                merged.append(parts[place])
                place += 1
        parts = merged
    return tuple(ids[part] for part in parts)


@functools.cache
def _vocabulary() -> tuple[dict[tuple[str, str], int], dict[str, int]]:
    """Ranks of the merges, and ids of tokens: letters, letters that end a word, merges."""
    packed = (resources.files("pretrain.model") / "clip_vocabulary" / "merges.txt.gz").read_bytes()
    merges: list[tuple[str, str]] = []
    for line in gzip.decompress(packed).decode("utf-8").splitlines():
        first, second = line.split()
        merges.append((first, second))
    letters = sorted(_byte_letters(), key=_byte_order)
    single = [_byte_letters()[byte] for byte in letters]
    tokens = single + [letter + _WORD_END for letter in single] + ["".join(m) for m in merges]
    return (
        {pair: rank for rank, pair in enumerate(merges)},
        {token: place for place, token in enumerate(tokens)},
    )


def _is_printable(byte: int) -> bool:
    return 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255


def _byte_order(byte: int) -> tuple[bool, int]:
    return (not _is_printable(byte), byte)


@functools.cache
def _byte_letters() -> dict[int, str]:
    """A printable letter for each byte: itself where it is one, else one from 256 upwards."""
    others = [byte for byte in range(256) if not _is_printable(byte)]
    return {
        byte: chr(byte) if _is_printable(byte) else chr(256 + others.index(byte))
        for byte in range(256)
    }
