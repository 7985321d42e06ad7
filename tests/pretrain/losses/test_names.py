"""The loss of naming against its definition, one noun at a time."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from egodtm_robot.core.errors import ModelInputError
from pretrain.losses import name_loss

SCALE = torch.tensor(4.0, dtype=torch.float64)
GROUPS = torch.tensor([[7, 8], [7, 9], [0, 0], [5, 0]])
PRESENT = GROUPS != 0


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three predictions and two nouns for each of four clips; equal nouns are equal."""
    generator = torch.Generator().manual_seed(seed)
    predictions = torch.randn(4, 3, 6, generator=generator, dtype=torch.float64)
    words = torch.randn(10, 6, generator=generator, dtype=torch.float64)
    predictions, words = functional.normalize(predictions, dim=-1), functional.normalize(words)
    return predictions, words[GROUPS]


def transcription(predictions: torch.Tensor, names: torch.Tensor) -> float:
    """The formula: all orders of predictions are tried, every noun of the batch is met once."""
    dictionary = {}
    for clip, place in zip(*PRESENT.nonzero(as_tuple=True), strict=True):
        dictionary.setdefault(int(GROUPS[clip, place]), names[clip, place])
    by_clip = []
    for clip in range(4):
        nouns = [(int(GROUPS[clip, k]), names[clip, k]) for k in range(2) if PRESENT[clip, k]]
        if not nouns:
            continue
        order = max(
            itertools.permutations(range(3), len(nouns)),
            key=lambda order: sum(
                float(predictions[clip, q] @ noun)
                for q, (_, noun) in zip(order, nouns, strict=True)
            ),
        )
        losses = []
        for query, (group, noun) in zip(order, nouns, strict=True):
            own = math.exp(float(SCALE * predictions[clip, query] @ noun))
            others = [
                math.exp(float(SCALE * predictions[clip, query] @ other))
                for number, other in dictionary.items()
                if number != group
            ]
            losses.append(-math.log(own / (own + sum(others))))
        by_clip.append(sum(losses) / len(losses))
    return sum(by_clip) / len(by_clip)


def test_the_loss_is_its_formula_with_each_noun_of_the_batch_counted_once():
    predictions, names = batch()
    found = name_loss(predictions, names, PRESENT, GROUPS, SCALE)
    assert float(found) == pytest.approx(transcription(predictions, names), abs=1e-9)


def test_the_order_of_predictions_changes_nothing():
    predictions, names = batch(1)
    turned = name_loss(predictions.flip(1), names, PRESENT, GROUPS, SCALE)
    torch.testing.assert_close(turned, name_loss(predictions, names, PRESENT, GROUPS, SCALE))


def test_a_batch_without_nouns_costs_nothing_and_has_zero_gradients():
    predictions, names = batch()
    predictions.requires_grad_()
    nothing = torch.zeros_like(PRESENT)
    loss = name_loss(predictions, torch.zeros_like(names), nothing, GROUPS * 0, SCALE)
    loss.backward()
    assert loss.item() == 0
    assert not predictions.grad.any()


def test_gradients_reach_predictions_and_nouns():
    predictions, names = (part.requires_grad_() for part in batch())
    name_loss(predictions, names, PRESENT, GROUPS, SCALE).backward()
    assert predictions.grad.isfinite().all()
    assert predictions.grad[2].abs().sum() == 0
    assert names.grad[PRESENT].abs().sum(dim=-1).min() > 0


def test_more_nouns_than_predictions_are_refused():
    predictions, names = batch()
    with pytest.raises(ModelInputError, match="at most 1 names a clip, got 2"):
        name_loss(predictions[:, :1], names, PRESENT, GROUPS, SCALE)
    with pytest.raises(ModelInputError, match=r"Expected names \(4, K, 6\)"):
        name_loss(predictions, names[:3], PRESENT, GROUPS, SCALE)
