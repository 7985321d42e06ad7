import numpy as np
import pytest
import torch

from pretrain.evaluate.regions import Regions, box_overlap
from pretrain.losses import RegionTarget


def test_objects_count_with_the_query_that_fits_best_and_hands_with_their_own():
    left, other = [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]
    # Roles: left hand, right hand, two objects. The object's box is found by the second query.
    boxes = torch.tensor([[[other, left, left, other]]])
    target = RegionTarget(
        boxes=torch.tensor([[[left, left, other, left]]]),
        present=torch.tensor([[[True, True, True, False]]]),
        labeled=torch.tensor([True]),
    )
    # The left hand is missed, the right hand and the object are found.
    assert box_overlap(boxes, target)[0] == pytest.approx(2 / 3, abs=1e-5)
    target.present[:] = False
    assert np.isnan(box_overlap(boxes, target)).all()


def test_clips_without_boxes_do_not_count():
    records = [
        {"item": row, "clip": str(row), "video": str(row), "iou": iou}
        for row, iou in enumerate([0.2, float("nan"), 0.6])
    ]
    found = Regions().score(records)
    assert found.plain() == {"iou": pytest.approx(0.4)}
    assert [row["item"] for row in found.outcomes] == [0, 2]
    assert Regions().score(records[1:2]) is None
