"""The dual softmax, in blocks, is that of its definition."""

import numpy as np

from pretrain.evaluate import similarity
from pretrain.evaluate.loader import LoaderConfig
from pretrain.evaluate.similarity import Similarity, similarity_fields


def unit(generator: np.random.Generator, rows: int) -> np.ndarray:
    values = generator.normal(size=(rows, 5))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def softmax(values: np.ndarray, axis: int) -> np.ndarray:
    raised = np.exp(values - values.max(axis=axis, keepdims=True))
    return raised / raised.sum(axis=axis, keepdims=True)


def test_both_directions_equal_the_definition_whatever_the_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    videos, texts = unit(generator, 9), unit(generator, 7)
    for temperature in (0.05, 500.0):
        loader = LoaderConfig(similarity="dual_softmax", temperature=temperature)
        products = texts @ videos.T
        expected = softmax(softmax(products / temperature, axis=1) * products, axis=0)
        for block in (1_000_000, 20):
            monkeypatch.setattr(similarity, "_BLOCK", block)
            found = Similarity(videos, texts, similarity_fields(loader))
            np.testing.assert_allclose(found.of_texts(slice(2, 5)), expected[2:5], rtol=1e-12)
            np.testing.assert_allclose(found.of_videos(slice(3, 9)), expected.T[3:9], rtol=1e-12)


def test_the_cosine_needs_no_field_of_a_record():
    generator = np.random.default_rng(1)
    videos, texts = unit(generator, 4), unit(generator, 3)
    assert similarity_fields(LoaderConfig()) == {}
    found = Similarity(videos, texts, {})
    np.testing.assert_array_equal(found.of_texts(slice(None)), texts @ videos.T)
    np.testing.assert_array_equal(found.of_videos(slice(1, 3)), videos[1:3] @ texts.T)


def test_what_is_near_to_everything_is_lowered():
    # The first clip is a little nearer to both texts than the one that is meant.
    texts = np.array([[1.0, 0.0], [0.0, 1.0]])
    videos = np.array([[0.75, 0.7], [0.7, 0.1], [0.1, 0.6]])
    assert Similarity(videos, texts, {}).of_texts(slice(None)).argmax(axis=1).tolist() == [0, 0]
    loader = LoaderConfig(similarity="dual_softmax", temperature=500)
    found = Similarity(videos, texts, similarity_fields(loader)).of_texts(slice(None))
    assert found.argmax(axis=1).tolist() == [1, 2]
