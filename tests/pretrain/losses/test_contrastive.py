"""The contrastive loss against its formula, one pair at a time."""

import math

import pytest
import torch
from torch.nn import functional

from egodtm_robot.core.errors import ModelInputError
from pretrain.losses import contrastive_loss, text_groups

SCALE = torch.tensor(1 / 0.07, dtype=torch.float64)


def embeddings(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(2, count, 6, generator=generator, dtype=torch.float64)
    video, text = functional.normalize(rows, dim=-1)
    return video.clone(), text.clone()


def transcription(video: torch.Tensor, text: torch.Tensor, groups: list[int]) -> float:
    """The formula, with one exponential after the other."""
    total = 0.0
    for i in range(len(video)):
        others = [j for j in range(len(video)) if j == i or groups[j] != groups[i]]
        pair = float(SCALE * video[i] @ text[i])
        texts = sum(math.exp(float(SCALE * video[i] @ text[j])) for j in others)
        videos = sum(math.exp(float(SCALE * text[i] @ video[j])) for j in others)
        total += math.log(texts) - pair + math.log(videos) - pair
    return total / (2 * len(video))


@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4, 5, 6], [0, 1, 0, 2, 1, 0, 3], [5] * 7])
def test_the_loss_is_its_formula_with_equal_texts_left_out(groups: list[int]):
    video, text = embeddings(7)
    expected = transcription(video, text, groups)
    found = contrastive_loss(video, text, SCALE, torch.tensor(groups))
    assert float(found) == pytest.approx(expected, abs=1e-9)
    if len(set(groups)) == 7:
        assert float(contrastive_loss(video, text, SCALE)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("elements", [1, 14, 20, 10_000])
def test_chunks_change_neither_loss_nor_gradients(elements: int):
    def run(elements: int) -> list[torch.Tensor]:
        pair = [rows.requires_grad_() for rows in embeddings(7)]
        groups = torch.tensor([0, 1, 0, 2, 3, 4, 5])
        loss = contrastive_loss(*pair, SCALE, groups, elements=elements)
        return [loss.detach(), *torch.autograd.grad(loss, pair)]

    for found, expected in zip(run(elements), run(10_000), strict=True):
        torch.testing.assert_close(found, expected)


def test_gradients_are_those_of_finite_differences():
    pair = [rows.requires_grad_() for rows in embeddings(4)]
    groups = torch.tensor([0, 1, 0, 2])
    assert torch.autograd.gradcheck(
        lambda video, text: contrastive_loss(video, text, SCALE, groups, elements=8), pair
    )


def test_a_batch_of_one_has_nothing_to_tell_apart():
    pair = [rows.requires_grad_() for rows in embeddings(1)]
    loss = contrastive_loss(*pair, SCALE)
    assert loss.item() == 0
    for gradient in torch.autograd.grad(loss, pair):
        assert not gradient.any()


def test_aligned_pairs_cost_less_than_shuffled_ones():
    video, _ = embeddings(8)
    aligned = contrastive_loss(video, video, SCALE)
    assert aligned < contrastive_loss(video, video.roll(1, dims=0), SCALE)


def test_groups_tell_texts_apart_by_their_ids():
    tokens = torch.zeros((5, 77), dtype=torch.int64)
    tokens[:, 0] = 49406
    tokens[0, 1:3] = torch.tensor([320, 49407])
    tokens[1, 1:3] = torch.tensor([320, 49407])
    tokens[2, 1:3] = torch.tensor([49407, 320])
    tokens[3, 1:3] = torch.tensor([321, 49407])
    tokens[4, 1:4] = torch.tensor([320, 320, 49407])
    groups = text_groups(tokens).tolist()
    assert groups[0] == groups[1]
    assert len(set(groups)) == 4
    many = torch.randint(0, 49408, (5000, 77), generator=torch.Generator().manual_seed(0))
    assert len(set(text_groups(many).tolist())) == 5000


def test_embeddings_that_do_not_belong_together_are_refused():
    video, text = embeddings(4)
    with pytest.raises(ModelInputError, match="as many videos as texts"):
        contrastive_loss(video, text[:3], SCALE)
    with pytest.raises(ModelInputError, match="as many videos as texts"):
        contrastive_loss(video[:0], text[:0], SCALE)


def test_a_clips_own_negatives_join_what_its_video_is_compared_with():
    video, text = embeddings(5)
    rivals = embeddings(10, seed=1)[0].unflatten(0, (5, 2)).clone()
    rivals[1, 1] = 0  # one negative alone
    rivals[3] = 0  # none
    expected = 0.0
    for i in range(5):
        pair = float(SCALE * video[i] @ text[i])
        own = [rival for rival in rivals[i] if rival.any()]
        texts = sum(math.exp(float(SCALE * video[i] @ key)) for key in [*text, *own])
        videos = sum(math.exp(float(SCALE * text[i] @ key)) for key in video)
        expected += math.log(texts) - pair + math.log(videos) - pair
    for elements in (5, 10_000):
        found = contrastive_loss(video, text, SCALE, negatives=rivals, elements=elements)
        assert float(found) == pytest.approx(expected / 10, abs=1e-9)
    rivals.requires_grad_()
    contrastive_loss(video, text, SCALE, negatives=rivals).backward()
    gone = rivals.grad.abs().sum(dim=-1) == 0
    assert gone.tolist() == [[False, False], [False, True], [False] * 2, [True] * 2, [False] * 2]


def test_negatives_of_another_shape_are_refused():
    video, text = embeddings(3)
    with pytest.raises(ModelInputError, match=r"\(3, k, 6\), got \(2, 2, 6\)"):
        contrastive_loss(video, text, SCALE, negatives=torch.zeros(2, 2, 6))


ACTIONS = torch.tensor([[1, 5, 6], [1, 6, 0], [2, 5, 0], [1, 5, 0], [0, 0, 0], [0, 0, 0]])
"""Verb, then nouns. 0 shares a noun with 1 and another with 3; the verb of 2 is another; the
actions of 4 and 5 are not known."""

POSITIVES = [{0, 1, 3}, {0, 1}, {2}, {0, 3}, {4}, {5}]


@pytest.mark.parametrize("elements", [6, 10_000])
def test_action_positives_are_egonce(elements: int):
    video, text = embeddings(6)
    scale = 5.0
    expected = 0.0
    for queries, keys in ((video, text), (text, video)):
        for i in range(6):
            shares = [math.exp(scale * float(queries[i] @ key)) for key in keys]
            expected -= math.log(sum(shares[j] for j in POSITIVES[i]) / sum(shares))
    # Equal texts count for nothing here.
    groups = torch.zeros(6, dtype=torch.int64)
    found = contrastive_loss(
        video, text, torch.tensor(scale), groups, elements=elements, actions=ACTIONS
    )
    assert float(found) == pytest.approx(expected / 12, abs=1e-9)


def test_without_shared_actions_egonce_is_infonce():
    video, text = embeddings(6)
    unlike = torch.arange(1, 13).reshape(6, 2)
    found = contrastive_loss(video, text, SCALE, actions=unlike)
    torch.testing.assert_close(found, contrastive_loss(video, text, SCALE))
