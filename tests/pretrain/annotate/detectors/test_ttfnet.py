"""TTFNet: what its cells learn, what it finds, and that it learns fast."""

import math

import pytest
import torch

from pretrain.annotate.detectors.model import new_detector
from pretrain.annotate.detectors.ttfnet import _loss, _peaks, target_maps


def test_a_middle_is_one_and_falls_off_as_the_paper_has_it():
    boxes = torch.tensor([[0.5, 0.5, 0.6, 0.3]])
    target = target_maps(boxes, torch.tensor([1]), (2, 20, 20))
    assert target.heat[0].abs().max() == 0
    assert target.heat[1, 10, 10] == 1
    deviation = 0.54 * 0.6 * 20 / 6
    expected = math.exp(-(2**2) / (2 * deviation**2))
    assert target.heat[1, 10, 12].item() == pytest.approx(expected, rel=1e-5)
    assert target.heat[1, 12, 10] < target.heat[1, 10, 12]  # it is wider than high
    assert target.weight.sum().item() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(target.boxes[10, 10], torch.tensor([0.2, 0.35, 0.8, 0.65]))


def test_of_things_that_overlap_the_smaller_one_has_the_cells():
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]])
    target = target_maps(boxes, torch.tensor([0, 0]), (1, 16, 16))
    torch.testing.assert_close(target.boxes[8, 8], torch.tensor([0.4, 0.4, 0.6, 0.6]))
    torch.testing.assert_close(target.boxes[8, 11], torch.tensor([0.05, 0.05, 0.95, 0.95]))
    # Each has the same say, however many cells it is learned by.
    small = (target.boxes[..., 2] - target.boxes[..., 0]) < 0.5
    assert target.weight[small].sum().item() == pytest.approx(1, rel=1e-4)
    assert target.weight[~small].sum().item() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("middle", [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
def test_things_at_the_border_have_a_middle(middle: tuple[float, float]):
    boxes = torch.tensor([[*middle, 0.01, 0.01]])
    target = target_maps(boxes, torch.tensor([0]), (1, 8, 8))
    assert (target.heat == 1).sum() == 1
    assert target.weight.sum().item() == pytest.approx(1, rel=1e-4)


def test_the_focal_loss_follows_its_formula():
    generator = torch.Generator().manual_seed(0)
    heat = torch.randn(1, 2, 8, 8, generator=generator)
    target = target_maps(torch.tensor([[0.4, 0.6, 0.3, 0.3]]), torch.tensor([1]), (2, 8, 8))
    boxes = target.boxes[None]  # right everywhere: nothing is left of the edges' loss
    expected = 0.0
    for p, y in zip(heat.sigmoid().flatten(), target.heat.flatten(), strict=True):
        one = (1 - p) ** 2 * p.log() if y == 1 else (1 - y) ** 4 * p**2 * (1 - p).log()
        expected -= float(one)
    assert float(_loss(heat, boxes, [target])) == pytest.approx(expected, rel=1e-4)
    assert float(_loss(heat, boxes + 0.2, [target])) > expected + 0.1


def test_pictures_without_things_are_learned_from():
    detector = new_detector("ttfnet", "tiny", ["a"], 0, "efficientnet_lite0")
    nothing = {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0).long()}
    loss = detector(torch.rand(1, 3, 64, 64), labels=[nothing]).loss
    loss.backward()
    assert loss.isfinite()
    assert detector.heat[-1].weight.grad.abs().sum() > 0


def test_neighbors_of_a_peak_are_not_found():
    heat = torch.full((1, 2, 6, 6), -9.0)
    heat[0, 0, 2, 2], heat[0, 0, 2, 3], heat[0, 1, 2, 3] = 2.0, 1.0, 1.5
    boxes = torch.rand(1, 6, 6, 4, generator=torch.Generator().manual_seed(0))
    logits, found = _peaks(heat, boxes, 2)
    assert logits[0].argmax(dim=1).tolist() == [0, 1]
    torch.testing.assert_close(logits[0].amax(dim=1), torch.tensor([2.0, 1.5]))
    low, high = boxes[0, 2, 3].chunk(2)
    torch.testing.assert_close(found[0, 1], torch.cat([(low + high) / 2, high - low]))


def test_a_few_steps_teach_it_a_picture():
    detector = new_detector("ttfnet", "tiny", ["hand", "mug"], 0, "efficientnet_lite0")
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 64, 64, generator=generator)
    boxes = torch.tensor([[0.3, 0.3, 0.2, 0.3], [0.7, 0.6, 0.1, 0.1]])
    labels = [{"boxes": boxes, "class_labels": torch.tensor([0, 1])}]
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    for _ in range(40):
        loss = detector(picture, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = detector(picture)
    best = found.logits[0].sigmoid().amax(dim=1).topk(2).indices
    by_label = found.logits[0, best].argmax(dim=1).argsort()
    assert found.logits[0, best].sigmoid().amax() > 0.5
    torch.testing.assert_close(found.pred_boxes[0, best[by_label]], boxes, atol=0.03, rtol=0)
