"""Heads that are trained with a model and are no part of it: anchor, crop, teacher."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from egodtm_robot.core.errors import ConfigurationError
from pretrain.losses.anchor import StemAnchor
from pretrain.losses.crop import crop_loss, crop_patches, draw_crops
from pretrain.losses.features import feature_loss, standardized
from pretrain.losses.heads import ModelWithHeads
from pretrain.losses.looks import LooksLoss, LooksLossConfig, look_share
from pretrain.losses.objective import ObjectiveConfig, freeze_unused
from pretrain.model import EgoDTM
from pretrain.model.crop_decoder import CropConfig, CropDecoder
from pretrain.model.initialization import initialize_head

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from imagenet_weights import needs_weights
from tiny_model import tiny_config

CROP = CropConfig(resolution=16, patch_size=4, width=16, layers=1, heads=2, masked=0.75)


def with_stem() -> EgoDTM:
    config = tiny_config()
    config.vision.stem = "efficientnet_lite0"
    return EgoDTM(config, seed=0)


def frames(count: int = 3, times: int = 2, side: int = 32) -> torch.Tensor:
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 256, (count, times, side, side, 3), np.uint8))


# -- features ----------------------------------------------------------------------------------


def test_features_that_match_cost_nothing_and_opposite_ones_most():
    target = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 4, 8)))
    assert feature_loss(target, target).item() == pytest.approx(0, abs=1e-6)
    # The cosine of -x to x is -1, and the smooth L1 distance of 2x is 2|x| - 0.5 where that is > 1.
    far = 2 * target.abs()
    distance = torch.where(far < 1, 0.5 * far**2, far - 0.5).mean()
    expected = 0.9 * 2 + 0.1 * distance.item()
    assert feature_loss(-target, target).item() == pytest.approx(expected, rel=1e-5)


def test_every_patch_has_its_own_cosine():
    target = torch.tensor([[[100.0, 0.0], [0.0, 1.0]]])
    wrong = torch.tensor([[[100.0, 0.0], [1.0, 0.0]]])
    # By one cosine of the whole map the small patch would not count.
    assert feature_loss(wrong, target).item() > 0.9 * 0.49


def test_channels_are_standardized_by_themselves():
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 7, 3)) * [1, 100, 0])
    found = standardized(values + torch.tensor([0.0, 50, 3]))
    torch.testing.assert_close(found.mean((0, 1)), torch.zeros(3), atol=1e-5, rtol=0)
    deviation = found.std((0, 1), unbiased=False)
    torch.testing.assert_close(deviation, torch.tensor([1.0, 1, 0]), atol=1e-4, rtol=0)


# -- anchor ------------------------------------------------------------------------------------


@needs_weights
def test_the_anchor_holds_to_imagenet_and_stores_only_its_translator():
    model = with_stem()
    anchor = StemAnchor()
    initialize_head(anchor, torch.Generator().manual_seed(0))
    assert all(name.startswith("translator.") for name in anchor.state_dict())
    clips = frames()
    stem = model.visual.stem
    stem.train_network(True)
    optimizer = torch.optim.Adam(anchor.parameters(), 1e-2)
    first = anchor(clips, stem.features(clips), (2, 2))
    for _ in range(30):
        optimizer.zero_grad()
        loss = anchor(clips, stem.features(clips).detach(), (2, 2))
        loss.backward()
        optimizer.step()
    # What the stem still sees can be learned; what it has lost cannot.
    assert loss.item() < 0.3 * first.item()
    held = anchor(clips, stem.features(clips), (2, 2))
    lost = anchor(clips, stem.features(torch.zeros_like(clips)), (2, 2))
    assert held.item() < 0.5 * lost.item()
    held.backward()
    assert all(p.grad is not None for p in stem.network.parameters())
    assert not any(p.requires_grad for p in anchor.frozen.parameters())


@needs_weights
def test_the_frozen_stem_moves_with_the_anchor():
    anchor = StemAnchor().to("meta")
    assert all(p.device.type == "meta" for p in anchor.frozen.parameters())


# -- looks -------------------------------------------------------------------------------------


def test_the_share_of_looks_is_that_of_two_way_analysis_of_variance():
    random = torch.Generator().manual_seed(0)
    scene = torch.randn(4000, 1, 1, 3, generator=random) * torch.tensor([3.0, 1.0, 0.0])
    looks = torch.randn(2, 4000, 1, 1, 3, generator=random) * torch.tensor([1.0, 1.0, 2.0])
    one, two = scene + looks[0], scene + looks[1]
    # 1 of 10, 1 of 2, and all of the variance.
    assert look_share(one, two).item() == pytest.approx((0.1 + 0.5 + 1) / 3, abs=0.02)
    assert look_share(scene, scene).item() == 0
    # Neither the size of a channel nor a pattern of places that never changes counts.
    pattern = torch.randn(1, 1, 5, 3, generator=random) * 100
    placed = [part.expand(-1, -1, 5, -1) * 7 + pattern for part in (one, two)]
    assert look_share(*placed).item() == pytest.approx(look_share(one, two).item(), abs=1e-3)


def test_looks_that_agree_cost_nothing_and_each_has_to_give_the_mean():
    stem = with_stem().visual.stem
    loss = LooksLoss(stem, LooksLossConfig(share=0, hold=1))
    assert not loss.state_dict()
    one, two = frames(), 255 - frames()
    first, second = stem.features(one), stem.features(two)
    assert loss(one, one, first, first).item() == 0
    mean = (first + second) / 2
    assert loss(one, two, mean, mean).item() == 0
    scale = mean.std((0, 1, 2), unbiased=False).clamp(min=1e-3)
    far = ((first - second) / 2 / scale).abs()
    expected = torch.where(far < 1, 0.5 * far**2, far - 0.5).mean()
    assert loss(one, two, first, second).item() == pytest.approx(expected.item(), rel=1e-4)
    both = LooksLoss(stem, LooksLossConfig(share=2, hold=1))(one, two, first, second)
    share = look_share(first, second)
    assert both.item() == pytest.approx((expected + 2 * share).item(), rel=1e-4)


def test_the_looks_lose_their_share_while_the_frozen_stem_stays():
    stem = with_stem().visual.stem
    stem.train_network(True)
    loss = LooksLoss(stem, LooksLossConfig())
    one, two = frames(), 255 - frames()
    before = look_share(stem.features(one), stem.features(two))
    optimizer = torch.optim.Adam(stem.network.parameters(), 1e-4)
    for _ in range(12):
        optimizer.zero_grad()
        loss(one, two, stem.features(one), stem.features(two)).backward()
        optimizer.step()
    assert look_share(stem.features(one), stem.features(two)).item() < 0.8 * before.item()
    kept = loss.frozen
    assert not any(p.requires_grad for p in kept.parameters())
    assert torch.equal(kept.features(one), with_stem().visual.stem.features(one))


@pytest.mark.parametrize("values", [(-0.1, 1), (0, 0), (1, -1)])
def test_weights_of_looks_that_cannot_be_are_refused(values):
    with pytest.raises(ConfigurationError, match=r"share and hold of 0 or more"):
        LooksLossConfig(*values)


# -- crop --------------------------------------------------------------------------------------


def test_crops_lie_in_the_frame_and_show_few_patches():
    config = dataclasses.replace(CROP, smallest=0.2, largest=0.5)
    draw = draw_crops(200, config, np.random.default_rng(0))
    left, top, side = draw.boxes.T
    assert ((left >= 0) & (left + side <= 1) & (top >= 0) & (top + side <= 1)).all()
    assert (side**2 >= 0.2 - 1e-6).all()
    assert (side**2 <= 0.5 + 1e-6).all()
    assert (side**2).max() - (side**2).min() > 0.25
    assert draw.visible.shape == (200, 4)
    assert all(len(set(row)) == 4 for row in draw.visible.tolist())


def test_patches_are_cut_from_their_place_and_normalized():
    image = torch.zeros((1, 32, 32, 3), dtype=torch.uint8)
    image[0, 8:16, 16:24] = torch.randint(
        0, 256, (8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    config = CropConfig(resolution=8, patch_size=4, width=16, heads=2, masked=0.5)
    patches = crop_patches(image, torch.tensor([[0.5, 0.25, 0.25]]), config)
    assert patches.shape == (1, 4, 48)
    # The crop's own pixels: color, row, column within the patch in the lower left.
    expected = image[0, 12:16, 16:20].permute(2, 0, 1).flatten().float()
    expected = (expected - expected.mean()) / expected.std()
    torch.testing.assert_close(patches[0, 2], expected, atol=1e-4, rtol=1e-4)


def test_only_hidden_patches_count():
    patches = torch.zeros(1, 4, 3)
    predicted = torch.zeros(1, 4, 3)
    predicted[0, 1] = 3.0
    assert crop_loss(predicted, patches, torch.tensor([[1, 2]])).item() == 0
    assert crop_loss(predicted, patches, torch.tensor([[0, 2]])).item() == pytest.approx(4.5)


def test_the_decoder_reads_visible_patches_and_the_token_alone():
    decoder = CropDecoder(CROP, 8, 5)
    initialize_head(decoder, torch.Generator().manual_seed(0))
    random = torch.Generator().manual_seed(1)
    features = torch.randn(2, 5, 8, generator=random)
    patches = torch.randn(2, 16, 48, generator=random)
    visible = torch.tensor([[0, 1, 2, 3], [4, 9, 15, 2]])
    found = decoder(features, patches, visible)
    hidden = patches.clone()
    hidden[0, 7] += 1
    torch.testing.assert_close(decoder(features, hidden, visible), found)
    seen = patches.clone()
    seen[1, 9] += 1
    changed = (decoder(features, seen, visible) - found).abs().amax((1, 2))
    assert changed[0] == 0
    assert changed[1] > 0
    assert (decoder(features.flip(1), patches, visible) - found).abs().max() > 1e-3


@needs_weights
@pytest.mark.parametrize("source", ["stem", "class"])
def test_the_token_learns_what_lies_where(source):
    """Squares in random places: without the token, hidden patches could not be told."""
    random = np.random.default_rng(0)
    clips = np.full((8, 1, 32, 32, 3), 30, np.uint8)
    for clip in clips:
        row, column = random.integers(0, 24, 2)
        clip[0, row : row + 8, column : column + 8] = random.integers(100, 256, 3)
    clips = torch.from_numpy(clips)
    crop = dataclasses.replace(CROP, source=source, smallest=0.9, largest=1)
    heads = ModelWithHeads(
        with_stem(), ObjectiveConfig(text=0, depth=0, crop=1, crop_decoder=crop), 0, None
    )
    heads.begin_step(0, 0)
    output = heads(clips, None, depth=False, regions=False)
    output.further["crop"].backward()
    decoder = heads.crop
    assert all(p.grad is not None for p in decoder.parameters())
    reached = heads.model.visual
    assert reached.conv1.weight.grad is None if source == "stem" else True
    heads.model.visual.stem.train_network(True)
    heads.begin_step(0, 0)
    again = heads(clips, None, depth=False, regions=False).further["crop"]
    assert again.item() == output.further["crop"].item()
    again.backward()
    assert heads.model.visual.stem.network.stem[0].weight.grad.abs().max() > 0
    heads.begin_step(1, 0)
    other = heads(clips, None, depth=False, regions=False).further["crop"]
    assert other.item() != again.item()


# -- together ----------------------------------------------------------------------------------


@needs_weights
def test_heads_change_nothing_of_the_models_output():
    model = with_stem().eval()
    clips = frames()
    objective = ObjectiveConfig(text=0, depth=1, anchor=1, crop=1, crop_decoder=CROP, distill=1)
    heads = ModelWithHeads(model, objective, 0, 6).eval()
    heads.begin_step(0, 0)
    teacher = torch.zeros(3, 2, 4, 6)
    found = heads(clips, None, depth=True, regions=False, teacher=teacher)
    plain = model(clips, None, depth=True)
    assert torch.equal(found.video.class_token, plain.video.class_token)
    assert torch.equal(found.depths[-1].depth, plain.depths[-1].depth)
    assert set(found.further) == {"anchor", "crop", "distill"}
    assert not plain.further
    # A cosine to nothing is 0, and each channel of the prediction is near 0 in the beginning.
    assert found.further["distill"].item() >= 0.9 - 1e-6


def test_looks_alone_train_the_stem_and_nothing_behind_it():
    model = with_stem()
    objective = ObjectiveConfig(text=0, depth=0, looks=1)
    assert objective.dense_truth == ("looks",)
    freeze_unused(model, objective)
    model.visual.stem.train_network(True)
    heads = ModelWithHeads(model, objective, 0, None)
    found = heads(frames(), None, depth=False, regions=False, dense={"looks": 255 - frames()})
    found.further["looks"].backward()
    learned = {name for name, one in heads.named_parameters() if one.grad is not None}
    assert learned == {n for n, _ in heads.named_parameters() if ".stem.network." in n}


@needs_weights
def test_where_only_the_stem_learns_the_blocks_are_not_computed(monkeypatch):
    model = with_stem()
    monkeypatch.setattr(model.visual, "forward", lambda *_: pytest.fail("blocks were computed"))
    objective = ObjectiveConfig(text=0, depth=0, anchor=1)
    assert objective.only_stem
    ModelWithHeads(model, objective, 0, None)(frames(), None, depth=False, regions=False)
    assert not ObjectiveConfig(text=1, anchor=1).only_stem
    behind = dataclasses.replace(CROP, source="class")
    assert not ObjectiveConfig(text=0, depth=0, crop=1, crop_decoder=behind).only_stem


def test_a_model_of_pixels_has_no_stem_to_hold():
    with pytest.raises(ConfigurationError, match=r"model\.vision\.stem=efficientnet_lite0"):
        ModelWithHeads(EgoDTM(tiny_config()), ObjectiveConfig(anchor=1), 0, None)


@pytest.mark.parametrize(
    "values",
    [
        {"masked": 0.0},
        {"masked": 0.99},
        {"masked": 0.01},
        {"patch_size": 5},
        {"smallest": 0.5, "largest": 0.4},
        {"width": 18},
        {"layers": 0},
    ],
)
def test_crops_that_cannot_be_are_refused(values):
    with pytest.raises(ConfigurationError, match="Expected"):
        dataclasses.replace(CROP, **values)
