"""Entities of patches, and the names of objects."""

import sys
from pathlib import Path

import torch

from pretrain.model import EgoDTM, EntityDecoderConfig

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from tiny_model import tiny_config


def entity_model(seed: int = 0) -> EgoDTM:
    config = tiny_config()
    config.entity_decoder = EntityDecoderConfig(
        enabled=True, width=16, heads=2, feed_forward=32, parts=6, entities=5
    )
    return EgoDTM(config, seed=seed)


def clips(count: int = 2, frames: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, frames, 32, 32, 3), generator=generator).to(torch.uint8)


def test_every_patch_is_shared_out_among_entities():
    found = entity_model()(clips(), entities=True).entities
    assert found.masks.shape == (2, 4, 4, 5)
    assert found.names.shape == (2, 5, 16)
    assert (found.masks >= 0).all()
    torch.testing.assert_close(found.masks.sum(dim=-1), torch.ones(2, 4, 4))
    torch.testing.assert_close(found.names.norm(dim=-1), torch.ones(2, 5))
    assert entity_model()(clips(frames=1), entities=True).entities.masks.shape == (2, 1, 4, 5)


def test_gradients_reach_all_of_the_decoder_and_the_encoder():
    model = entity_model()
    found = model(clips(), depth=False, entities=True).entities
    weights = torch.arange(5.0)
    ((found.masks * weights).sum() + (found.names.mean(dim=2) * weights).sum()).backward()
    for name, parameter in model.entity_decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert model.visual.conv1.weight.grad.abs().sum() > 0


def test_parts_that_are_added_leave_the_other_initial_weights_alone():
    plain = EgoDTM(tiny_config(regions=True), seed=3).state_dict()
    config = tiny_config(regions=True)
    config.region_decoder.names = True
    config.entity_decoder = EntityDecoderConfig(
        enabled=True, width=16, heads=2, feed_forward=32, parts=6, entities=5
    )
    richer = EgoDTM(config, seed=3).state_dict()
    assert set(plain) < set(richer)
    for name, tensor in plain.items():
        assert torch.equal(tensor, richer[name]), name


def test_objects_get_one_name_for_all_frames():
    config = tiny_config(regions=True)
    config.region_decoder.names = True
    *early, last = EgoDTM(config)(clips(), regions=True).boxes
    assert last.names.shape == (2, config.region_decoder.objects, 16)
    torch.testing.assert_close(last.names.norm(dim=-1), torch.ones(2, 3))
    assert all(prediction.names is None for prediction in early)
