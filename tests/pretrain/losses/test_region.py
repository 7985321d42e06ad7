"""The region loss against its formula and against SciPy's matching."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from egodtm_robot.core.errors import ModelInputError
from pretrain.clips.clip import LEFT, NO_SIDE, RIGHT, Boxes
from pretrain.losses import RegionTarget, region_loss, region_target
from pretrain.losses.region import generalized_iou
from pretrain.model.region_decoder import RegionPrediction


def random_boxes(*shape: int, generator: torch.Generator) -> torch.Tensor:
    corners = torch.rand(*shape, 2, 2, generator=generator, dtype=torch.float64)
    return torch.cat([corners.amin(dim=-2), corners.amax(dim=-2) + 0.05], dim=-1)


def batch(
    clips: int = 3, frames: int = 2, objects: int = 3
) -> tuple[RegionPrediction, RegionTarget]:
    generator = torch.Generator().manual_seed(0)
    shape = (clips, frames, 2 + objects)
    present = torch.rand(*shape, generator=generator) < 0.7
    boxes = random_boxes(*shape, generator=generator)
    logits = torch.randn(*shape, generator=generator, dtype=torch.float64)
    labeled = torch.ones(clips, dtype=torch.bool)
    labeled[-1] = clips == 1
    target = RegionTarget(
        torch.where(present[..., None], random_boxes(*shape, generator=generator), 0.0),
        present,
        labeled,
    )
    return RegionPrediction(boxes, logits), target


def slow_giou(first: list[float], second: list[float]) -> float:
    def area(box: list[float]) -> float:
        return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])

    inner = [max(first[0], second[0]), max(first[1], second[1])]
    inner += [min(first[2], second[2]), min(first[3], second[3])]
    outer = [min(first[0], second[0]), min(first[1], second[1])]
    outer += [max(first[2], second[2]), max(first[3], second[3])]
    union = area(first) + area(second) - area(inner)
    return area(inner) / union - (area(outer) - union) / area(outer)


def slow_clip_loss(
    boxes: torch.Tensor, logits: torch.Tensor, wanted: torch.Tensor, present: torch.Tensor
) -> float:
    """One clip: its pairs' costs one by one, objects matched by SciPy."""
    frames, roles = present.shape
    number = max(1, int(present.sum()))

    def cost(query: int, role: int) -> float:
        total = 0.0
        for t in range(frames):
            probability = 1 / (1 + np.exp(-float(logits[t, query])))
            if present[t, role]:
                first, second = boxes[t, query].tolist(), wanted[t, role].tolist()
                corners = sum(abs(a - b) for a, b in zip(first, second, strict=True))
                total += (5 * corners + 2 * (1 - slow_giou(first, second))) / number
                total += -np.log(probability) / (frames * roles)
            else:
                total += -np.log(1 - probability) / (frames * roles)
        return total

    costs = np.array([[cost(q, r) for r in range(2, roles)] for q in range(2, roles)])
    rows, columns = linear_sum_assignment(costs)
    return cost(0, 0) + cost(1, 1) + float(costs[rows, columns].sum())


def test_the_loss_is_its_formula_with_hungarian_matching():
    prediction, target = batch()
    expected = [
        slow_clip_loss(
            prediction.boxes[i], prediction.presence[i], target.boxes[i], target.present[i]
        )
        for i in range(2)
    ]
    # The third clip is not labeled; two layers are summed.
    found = region_loss([prediction, prediction], target)
    assert float(found) == pytest.approx(2 * sum(expected) / 2, abs=1e-9)


@pytest.mark.parametrize("objects", [0, 1, 5])
def test_a_batch_of_one_with_any_number_of_objects(objects: int):
    prediction, target = batch(clips=1, objects=objects)
    expected = (
        slow_clip_loss(
            prediction.boxes[0], prediction.presence[0], target.boxes[0], target.present[0]
        )
        if objects
        else None
    )
    found = float(region_loss([prediction], target))
    assert np.isfinite(found)
    assert expected is None or found == pytest.approx(expected, abs=1e-9)


def test_gradients_are_those_of_finite_differences():
    prediction, target = batch(frames=1, objects=2)
    inputs = (prediction.boxes.requires_grad_(), prediction.presence.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda boxes, presence: region_loss([RegionPrediction(boxes, presence)], target), inputs
    )


def test_order_of_objects_is_free_but_hands_have_sides():
    prediction, target = batch()
    swapped = torch.tensor([0, 1, 4, 2, 3])
    again = RegionTarget(target.boxes[:, :, swapped], target.present[:, :, swapped], target.labeled)
    torch.testing.assert_close(region_loss([prediction], target), region_loss([prediction], again))
    hands = torch.tensor([1, 0, 2, 3, 4])
    other = RegionTarget(target.boxes[:, :, hands], target.present[:, :, hands], target.labeled)
    assert region_loss([prediction], target) != region_loss([prediction], other)


def test_a_batch_without_labels_costs_nothing_and_pulls_nowhere():
    prediction, target = batch()
    prediction.boxes.requires_grad_()
    loss = region_loss(
        [prediction], RegionTarget(target.boxes, target.present, target.labeled & False)
    )
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss, [prediction.boxes])
    assert not gradient.any()


def test_overlap_of_boxes_without_area_is_finite():
    point = torch.full((4,), 0.5, requires_grad=True)
    value = generalized_iou(point, torch.full((4,), 0.5))
    value.backward()
    assert value.isfinite()
    assert point.grad is not None
    assert point.grad.isfinite().all()


def boxes(*rows: tuple[int, int, str, int, bool, float]) -> Boxes:
    """Rows of frame, track, category, side, contact and left edge."""
    frame, track, category, side, contact, left = zip(*rows, strict=True)
    left_edge = np.array(left, np.float32)
    return Boxes(
        frame=np.array(frame, np.int16),
        track=np.array(track, np.int16),
        category=list(category),
        side=np.array(side, np.int8),
        contact=np.array(contact, bool),
        xyxy=np.stack([left_edge, left_edge * 0, left_edge + 0.1, left_edge * 0 + 0.2], axis=1),
    )


def test_targets_put_hands_in_their_places_and_touched_objects_first():
    clip = boxes(
        (0, 0, "hand", RIGHT, True, 0.0),
        (1, 0, "hand", RIGHT, True, 0.1),
        (1, 4, "hand", LEFT, False, 0.2),
        (1, 5, "hand", NO_SIDE, False, 0.3),
        (0, 1, "plate", NO_SIDE, False, 0.4),
        (1, 1, "plate", NO_SIDE, False, 0.5),
        (1, 2, "mug", NO_SIDE, True, 0.6),
        (0, 3, "fork", NO_SIDE, False, 0.7),
    )
    target = region_target([clip, None, Boxes.empty()], frames=2, objects=2)
    assert target.labeled.tolist() == [True, False, True]
    assert target.present[0].tolist() == [[False, True, False, True], [True, True, True, True]]
    np.testing.assert_allclose(target.boxes[0, 1, :, 0], [0.2, 0.1, 0.6, 0.5])
    assert not target.present[1:].any()
    assert not target.boxes[0, 0, 2].any()


def test_shapes_that_do_not_fit_are_refused():
    prediction, target = batch()
    few = RegionPrediction(prediction.boxes[:, :, :3], prediction.presence[:, :, :3])
    with pytest.raises(ModelInputError, match="arranges"):
        region_loss([few], target)
