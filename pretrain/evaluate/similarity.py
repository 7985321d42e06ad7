"""How near clips and texts are: the cosine, or EgoVLP's dual softmax of it.

showlab/EgoVLP 928406c, ``run/test_epic.py``: with its default ``--dual_softmax`` the inner products
of texts and clips are divided by 500 and go through a softmax over the clips, whose outcome weighs
them; a softmax over the texts follows. Its embeddings are not of length 1 there, those of
:class:`pretrain.evaluate.model.VideoTextModel` are: the rule is the same and its strength is not.
LaViLa, AVION and HelpingHands take (cosine + 1) / 2, which ranks as the cosine does.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pretrain.evaluate.loader import LoaderConfig

_FIELD = "dual_softmax_temperature"
_BLOCK = 1_000_000
"""Cells of a matrix of texts and clips that are held at once."""


def similarity_fields(loader: LoaderConfig) -> dict[str, float]:
    """What a record says of its loader's similarity; nothing of the cosine."""
    return {_FIELD: loader.temperature} if loader.similarity == "dual_softmax" else {}


class Similarity:
    """Similarities of n clips and m texts, a block at a time.

    Args:
        videos: float64 (n, J).
        texts: float64 (m, J).
        record: of the task, see :func:`similarity_fields`.
    """

    def __init__(self, videos: np.ndarray, texts: np.ndarray, record: Mapping[str, Any]) -> None:
        self._videos, self._texts = videos, texts
        self._temperature: float | None = record.get(_FIELD)
        if self._temperature is None:
            return
        clips, queries = len(videos), len(texts)
        self._over_clips = np.zeros(queries)
        self._over_texts = np.zeros(clips)
        step = max(1, _BLOCK // clips)
        for start in range(0, queries, step):
            block = slice(start, start + step)
            products = texts[block] @ videos.T
            self._over_clips[block] = self._sharpened(products).sum(axis=1)
            self._over_texts += np.exp(self._weighed(products, self._over_clips[block, None])).sum(
                axis=0
            )

    def of_videos(self, block: slice) -> np.ndarray:
        """Float64 (k, m), of the clips of a block to all texts."""
        products: np.ndarray = self._videos[block] @ self._texts.T
        if self._temperature is None:
            return products
        weighed = self._weighed(products, self._over_clips)
        return np.asarray(np.exp(weighed) / self._over_texts[block, None])

    def of_texts(self, block: slice) -> np.ndarray:
        """Float64 (k, n), of the texts of a block to all clips."""
        products: np.ndarray = self._texts[block] @ self._videos.T
        if self._temperature is None:
            return products
        weighed = self._weighed(products, self._over_clips[block, None])
        return np.asarray(np.exp(weighed) / self._over_texts)

    def _sharpened(self, products: np.ndarray) -> np.ndarray:
        assert self._temperature is not None
        # Products are at most 1, so that this shift keeps exponents from overflowing.
        return np.asarray(np.exp((products - 1) / self._temperature))

    def _weighed(self, products: np.ndarray, total: np.ndarray) -> np.ndarray:
        return np.asarray(self._sharpened(products) / total * products)
