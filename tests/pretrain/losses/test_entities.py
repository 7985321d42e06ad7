"""The projection loss on masks and boxes whose shadows are known."""

import pytest
import torch

from egodtm_robot.core.errors import ModelInputError
from pretrain.losses import RegionTarget, projection_loss

GRID = (4, 6)


def target(boxes: list[list[float]], frames: int = 1) -> RegionTarget:
    """Things of one clip, each with the same box in every frame; four zeros for an absent one."""
    rows = torch.tensor(boxes)[None, None].expand(1, frames, -1, -1)
    return RegionTarget(rows, rows.sum(dim=-1) > 0, torch.tensor([True]))


def masks(*parts: tuple[slice, slice], frames: int = 1) -> torch.Tensor:
    """Entities that cover some rows and columns of every frame whole: (1, T, L, E)."""
    found = torch.zeros(1, frames, *GRID, len(parts))
    for entity, (rows, columns) in enumerate(parts):
        found[:, :, rows, columns, entity] = 1.0
    return found.flatten(2, 3)


BOX = [1 / 6, 0.25, 0.5, 0.75]  # columns 1 and 2, rows 1 and 2
INSIDE = (slice(1, 3), slice(1, 3))


def test_an_entity_that_fills_its_box_costs_nothing():
    elsewhere = (slice(0, 1), slice(0, 1))
    loss = projection_loss(masks(elsewhere, INSIDE, frames=2), GRID, target([BOX], frames=2))
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_only_shadows_count():
    # The two corners of the box alone have the shadow of the whole box.
    corners = masks((slice(1, 2), slice(1, 2)))
    corners += masks((slice(2, 3), slice(2, 3)))
    assert float(projection_loss(corners, GRID, target([BOX]))) == pytest.approx(0, abs=1e-6)


def test_the_cost_is_one_less_dice_on_either_axis():
    # One column of two, both rows: dice 2 / 3 on columns, 1 on rows.
    half = masks((slice(1, 3), slice(1, 2)))
    assert float(projection_loss(half, GRID, target([BOX]))) == pytest.approx(1 / 3, abs=1e-6)
    # Rows and columns are told apart: all of 4 rows, dice 4 / 6.
    tall = masks((slice(0, 4), slice(1, 3)))
    assert float(projection_loss(tall, GRID, target([BOX]))) == pytest.approx(1 / 3, abs=1e-6)


def test_things_take_the_entities_that_cost_least():
    other = [0.5, 0.0, 1.0, 0.25]
    found = masks((slice(0, 1), slice(3, 6)), INSIDE)
    for boxes in ([BOX, other], [other, BOX]):
        assert float(projection_loss(found, GRID, target(boxes))) == pytest.approx(0, abs=1e-6)


def test_clips_without_boxes_cost_nothing_and_have_zero_gradients():
    found = masks(INSIDE, INSIDE).requires_grad_()
    loss = projection_loss(found, GRID, target([[0.0] * 4]))
    loss.backward()
    assert loss.item() == 0
    assert not found.grad.any()


def test_masks_of_another_grid_or_too_few_entities_are_refused():
    with pytest.raises(ModelInputError, match=r"Expected masks \(1, 1, 24, 2 or more\)"):
        projection_loss(masks(INSIDE), GRID, target([BOX, BOX]))
    with pytest.raises(ModelInputError, match=r"Expected masks \(1, 1, 25, 1 or more\)"):
        projection_loss(masks(INSIDE), (5, 5), target([BOX]))
