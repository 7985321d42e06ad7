"""Where a model starts from."""

import sys
from pathlib import Path

import torch

from pretrain.model import EgoDTM
from pretrain.model.initialization import plane_waves, waves

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from tiny_model import tiny_config


def test_a_seed_gives_one_model_and_another_seed_another():
    first, again, other = (EgoDTM(tiny_config(), seed=seed) for seed in (3, 3, 4))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(first.visual.conv1.weight, other.visual.conv1.weight)


def test_places_and_times_can_be_told_apart_from_the_beginning():
    places = plane_waves(8, 192)
    assert places.shape == (64, 192)
    distances = torch.cdist(places, places) + 100 * torch.eye(64)
    # The nearest other place is a neighbor in row or column.
    nearest = distances.argmin(dim=1)
    steps = (nearest // 8 - torch.arange(64) // 8).abs() + (
        nearest % 8 - torch.arange(64) % 8
    ).abs()
    assert (steps == 1).all()
    assert distances.min() > 0.3
    times = waves(4, 192)
    assert (torch.pdist(times) > 0.3).all()
    visual = EgoDTM(tiny_config(), seed=0).visual
    assert torch.equal(visual.temporal_embedding.detach(), waves(*visual.temporal_embedding.shape))


def test_a_place_weighs_as_much_as_what_a_patch_shows():
    visual = EgoDTM(tiny_config(), seed=0).visual
    size = visual.config.image_size
    frames = torch.randint(0, 256, (2, 1, size, size, 3), dtype=torch.uint8)
    with torch.no_grad():
        shown = visual.conv1(visual.patches(frames)[0]).std()
        place = visual.positional_embedding[1:].std()
    assert 0.1 < float(place / shown) < 5
