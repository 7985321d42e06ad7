"""Depth in six numbers, through a decoder and through heads on frozen tokens."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from pretrain.clips.store import ClipStore
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.depth_heads import (
    DepthExamples,
    fit_convolutional_depth,
    fit_linear_depth,
)
from pretrain.evaluate.depth_metrics import depth_accuracy
from pretrain.evaluate.depth_probe import DepthProbe
from pretrain.evaluate.egodtm import EgoDTMModel
from pretrain.evaluate.task import EvaluationDataError
from pretrain.model import EgoDTM

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_store
from fake_models import Lettering
from tiny_model import tiny_config


def slow_accuracy(found, truth):
    """Cell by cell, without an alignment."""
    cells = [(f, t) for f, t in zip(found.ravel(), truth.ravel(), strict=True) if t > 0]
    n = len(cells)
    shares = [sum(max(f / t, t / f) < 1.25**k for f, t in cells) / n for k in (1, 2, 3)]
    return [
        *shares,
        sum(abs(f - t) / t for f, t in cells) / n,
        math.sqrt(sum((f - t) ** 2 for f, t in cells) / n),
        math.sqrt(sum((math.log(f) - math.log(t)) ** 2 for f, t in cells) / n),
    ]


def draw_maps(seed: int):
    generator = np.random.default_rng(seed)
    truth = generator.uniform(0.3, 3, (6, 8)).astype(np.float32)
    found = (truth * generator.uniform(0.6, 1.6, truth.shape)).astype(np.float32)
    truth[0, :3] = np.nan
    truth[1, 0] = 0
    return found, truth


def test_the_six_numbers_equal_their_definitions():
    found, truth = draw_maps(0)
    expected = slow_accuracy(found.astype(float), truth.astype(float))
    np.testing.assert_allclose(depth_accuracy(found, truth, "none"), expected, rtol=1e-6)


def test_each_alignment_leaves_open_what_it_says():
    found, truth = draw_maps(1)
    plain = depth_accuracy(found, truth, "none")
    scaled = depth_accuracy(3 * found, truth, "none")
    assert not np.allclose(plain, scaled)
    for alignment, change in (("median", 3 * found), ("scale_and_shift", 3 * found + 2)):
        one = depth_accuracy(found, truth, alignment)
        np.testing.assert_allclose(depth_accuracy(change, truth, alignment), one, rtol=1e-4)
    assert not np.allclose(
        depth_accuracy(found + 2, truth, "median"), depth_accuracy(found, truth, "median")
    )
    perfect = [1, 1, 1, 0, 0, 0]
    np.testing.assert_allclose(
        depth_accuracy(0.2 * truth - 1, truth, "scale_and_shift"), perfect, atol=1e-5
    )
    assert np.isnan(depth_accuracy(found, np.full_like(truth, np.nan), "median")).all()


def examples(count: int, seed: int) -> DepthExamples:
    """Tokens of which two of five numbers tell the depth, which changes over the map."""
    generator = np.random.default_rng(seed)
    tokens = generator.normal(size=(count, 3, 3, 5)) + 4
    logs = 0.3 * tokens[..., 1] - 0.2 * tokens[..., 3]
    depth = np.exp(logs).repeat(4, axis=1).repeat(4, axis=2).astype(np.float32)
    depth[0, :2] = np.nan
    depth[1] = np.nan
    return DepthExamples(tokens.astype(np.float16), depth)


def log_error(head, wanted: DepthExamples) -> float:
    errors = np.log(head(wanted.tokens)) - np.log(wanted.depth)
    return float(np.nanmean(np.abs(errors)))


def test_both_heads_read_depth_that_the_tokens_tell():
    fit, validation, test = examples(24, 0), examples(8, 1), examples(8, 2)
    spread = float(np.nanstd(np.log(test.depth)))
    linear = fit_linear_depth(fit, validation)
    assert linear(test.tokens).shape == test.depth.shape
    # What is left is the bilinear blur between tokens.
    assert log_error(linear, test) < 0.5 * spread
    head = fit_convolutional_depth(fit, validation, epochs=12)
    assert log_error(head, test) < 0.7 * spread
    again = fit_convolutional_depth(fit, validation, epochs=12)
    np.testing.assert_array_equal(head(test.tokens), again(test.tokens))


def test_the_validation_chooses_the_penalty_and_the_epoch():
    fit, other = examples(24, 0), examples(8, 3)
    nonsense = DepthExamples(other.tokens, other.depth[::-1].copy())
    bold, shy = (fit_linear_depth(fit, part, (1000.0, 1e-4)) for part in (other, nonsense))
    assert np.log(bold(fit.tokens)).std() > 5 * np.log(shy(fit.tokens)).std()
    # No epoch is better than the first values against a truth that contradicts the training.
    reverse = DepthExamples(fit.tokens, 1 / fit.depth**3)
    level = float(np.exp(np.nanmean(np.log(fit.depth))))
    kept = fit_convolutional_depth(fit, reverse, epochs=2)
    assert np.log(kept(fit.tokens) / level).std() < np.nanstd(np.log(fit.depth))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> EvaluationClips:
    path = make_store(tmp_path_factory.mktemp("depth") / "store", range(12))
    return EvaluationClips(ClipStore.open(path), resolution=32)


@pytest.fixture(scope="module")
def model() -> EgoDTMModel:
    return EgoDTMModel(EgoDTM(tiny_config(), seed=1))


def test_all_heads_are_scored_on_the_same_frames(data, model, monkeypatch):
    monkeypatch.setattr("pretrain.evaluate.depth_probe.fit_convolutional_depth", quick_fit)
    task = DepthProbe()
    assert task.lacks(model, data) is None
    records = task.measure(model, data, range(12))
    tokens = model.patch_tokens(data.frames(range(12)))[:, 2]
    np.testing.assert_allclose(records[3]["tokens"], tokens[3], rtol=1e-3, atol=1e-3)
    assert records[3]["truth"].shape == tuple(4 * side for side in tokens.shape[1:3])
    scores = task.score(records)
    groups = {name.split("/")[0] for name in scores.numbers}
    assert groups == {"decoder", "linear", "dpt", "mean_map"}
    assert scores.headline.value == scores.numbers["decoder/delta1"].value
    assert "one scale and one shift a frame" in scores.facts["alignment"]
    # The scene of these clips is always nearly the same: the mean map is hard to beat.
    assert scores.numbers["mean_map/delta1"].value > 0.6
    expected = [
        depth_accuracy(record["decoder"], record["truth"], "scale_and_shift") for record in records
    ]
    assert scores.numbers["decoder/log_rmse"].value == pytest.approx(np.mean(expected, axis=0)[5])


def quick_fit(fit, validation):
    return fit_convolutional_depth(fit, validation, epochs=1)


def test_a_training_store_is_fitted_on_and_nothing_else(data, model, tmp_path):
    path = make_store(tmp_path / "training", range(20, 32))
    task = DepthProbe(training=str(path), heads=["linear"], alignment="none")
    assert task.size(data) == 24
    records = [
        r for start in (0, 8, 16) for r in task.measure(model, data, range(start, start + 8))
    ]
    assert "decoder" not in records[0]
    scores = task.score(records)
    assert (scores.facts["clips"], scores.facts["training_clips"]) == (12, 12)
    changed = [r if r["training"] else {**r, "truth": r["truth"] * 2} for r in records]
    again = task.score(changed)
    # The prediction stays, so that its logarithm is off by one more constant.
    assert again.numbers["linear/delta1"].value < scores.numbers["linear/delta1"].value


def test_what_is_missing_or_wrong_is_named(data, model):
    assert DepthProbe().lacks(Lettering(), data) == "a model with depth or patch tokens"
    assert DepthProbe(heads=["dpt"]).lacks(Lettering(), data) == "a model with patch tokens"
    assert DepthProbe(heads=["decoder"]).lacks(Lettering(), data) == "a model with depth"
    for options, message in (
        ({"heads": ["mlp"]}, "Expected some of the heads decoder, linear, dpt, got .'mlp'"),
        ({"heads": []}, "got none"),
        ({"alignment": "shift"}, "Expected alignment scale_and_shift, median, none, got 'shift'"),
        ({"alignment": "none", "heads": ["decoder"]}, "knows no unit"),
    ):
        with pytest.raises(EvaluationDataError, match=message):
            DepthProbe(**options)
    task = DepthProbe(heads=["decoder", "linear"])
    records = task.measure(model, data, range(12))
    with pytest.raises(EvaluationDataError, match="at least three scenes"):
        task.score([{**record, "scene": "kitchen"} for record in records])
    unknown = [{**record, "truth": record["truth"] * np.nan} for record in records]
    assert task.score(unknown) is None
    broken = [{**record, "decoder": record["decoder"] * np.nan} for record in records[:6]]
    with pytest.raises(EvaluationDataError, match="decoder of squares/square/0"):
        task.score(broken + records[6:])
