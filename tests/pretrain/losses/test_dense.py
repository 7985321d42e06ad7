"""Dense losses against their formulas, and where their gradients go."""

import dataclasses
import math
import sys
from pathlib import Path

import pytest
import torch

from egodtm_robot.core.errors import ConfigurationError, ModelInputError
from pretrain.clips.dataset import ClipDataset, Draw, SampleSpec
from pretrain.clips.dense import CLASSES, DENSE_KINDS
from pretrain.clips.store import ClipStore
from pretrain.losses.dense import (
    DenseLossConfig,
    bilinear_shares,
    class_error,
    dense_losses,
    normal_error,
    search_error,
)
from pretrain.losses.heads import ModelWithHeads
from pretrain.losses.objective import ObjectiveConfig, freeze_unused, objective_losses
from pretrain.model import EgoDTM
from pretrain.model.dense_head import DenseHead, DensePrediction

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_dense_store
from imagenet_weights import needs_weights
from tiny_model import tiny_config

EVERY = DenseLossConfig(segmentation=1.0, normals=0.5, correspondence=0.25)


def own_places(rows: int, columns: int) -> torch.Tensor:
    x, y = (torch.arange(columns) + 0.5) / columns, (torch.arange(rows) + 0.5) / rows
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)


def test_classes_are_compared_cell_by_cell_and_rare_ones_weigh_more():
    classes = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    classes[1, 0, 0, 0] = CLASSES.index("handle")
    logits = torch.zeros(2, 1, 2, 2, len(CLASSES))
    torch.testing.assert_close(
        class_error(logits, classes), torch.full((2,), math.log(len(CLASSES)))
    )
    logits[..., 0] = 50.0  # right but for the handle, which counts as four of the others
    torch.testing.assert_close(class_error(logits, classes), torch.tensor([0.0, 50 * 4 / 7]))
    with pytest.raises(ModelInputError, match="segmentation of shape"):
        class_error(logits, classes[:, :, :1])


def test_normals_are_compared_by_their_direction_where_they_are_known():
    normals = torch.tensor([0.0, 0.0, 1.0]).repeat(3, 1, 2, 2, 1)
    normals[1, 0, 0] = torch.nan
    normals[2] = torch.nan
    predicted = 7 * torch.tensor([0.0, 0.0, 1.0]).repeat(3, 1, 2, 2, 1)
    predicted[1, 0, 0] = torch.tensor([1.0, 0.0, 0.0])
    predicted[1, 0, 1, 1] = torch.tensor([0.0, 0.0, -2.0])
    predicted.requires_grad_()
    errors = normal_error(predicted, normals)
    torch.testing.assert_close(errors, torch.tensor([0.0, 1.0, torch.nan]), equal_nan=True)
    prediction = DensePrediction(None, predicted, None)
    loss = dense_losses(prediction, {"normals": normals}, DenseLossConfig(normals=1.0))["normals"]
    assert loss.item() == pytest.approx(0.5)
    loss.backward()
    assert predicted.grad.isfinite().all()


def test_a_point_is_shared_among_the_tokens_around_it():
    shares = bilinear_shares(torch.tensor([[0.25, 0.5], [0.0, 0.0], [torch.nan, 0.5]]), (2, 2))
    wanted = [[0.5, 0, 0.5, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(shares, torch.tensor(wanted))


def test_tokens_that_move_are_found_where_they_went():
    # Every token is like no other; in the later frame all are one column further right.
    first = torch.eye(6).view(2, 3, 6)
    embeddings = torch.stack([first, first.roll(1, dims=1)])[None]
    points = own_places(2, 3) + torch.tensor([1 / 3, 0.0])
    points[:, 2] = torch.nan
    right = search_error(embeddings, points[None, None], 0.05)
    stayed = search_error(embeddings, own_places(2, 3)[None, None], 0.05)
    assert float(right) < 1e-6
    assert float(stayed) > 10
    # Tokens that are all alike are found by chance.
    alike = torch.ones(1, 2, 2, 3, 4) / 2
    torch.testing.assert_close(
        search_error(alike, points[None, None], 0.05), torch.tensor([math.log(6)])
    )


def test_single_frames_have_no_pairs_but_gradients():
    embeddings = torch.nn.functional.normalize(torch.randn(3, 1, 2, 2, 4), dim=-1).requires_grad_()
    truth = {"points": torch.zeros(3, 0, 2, 2, 2)}
    losses = dense_losses(
        DensePrediction(None, None, embeddings), truth, DenseLossConfig(correspondence=1.0)
    )
    assert losses["correspondence"].item() == 0
    losses["correspondence"].backward()
    assert (embeddings.grad == 0).all()


def test_the_cells_of_a_token_lie_where_the_token_does():
    head = DenseHead(["normals"], 5, cells=2)
    tokens = torch.zeros(1, 1, 6, 5)
    tokens[0, 0, 4] = 1.0  # second row, second of three columns
    with torch.no_grad():
        head.normals.bias.zero_()
        head.normals.weight.copy_(torch.arange(12.0)[:, None].expand(12, 5))
    maps = head(tokens, (2, 3)).normals
    assert maps.shape == (1, 1, 4, 6, 3)
    assert maps[0, 0].any(-1).nonzero().tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]
    torch.testing.assert_close(maps[0, 0, 3, 2] / 5, torch.tensor([6.0, 7.0, 8.0]))


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    path = make_dense_store(tmp_path_factory.mktemp("dense") / "clips", range(4))
    spec = SampleSpec(32, (8, 8), dense=DENSE_KINDS, dense_cells=(8, 8), dense_tokens=(2, 2))
    data = ClipDataset(ClipStore.open(path), spec)
    return data.batch([Draw(index) for index in range(4)])


def with_head(objective: ObjectiveConfig) -> ModelWithHeads:
    config = tiny_config()
    if objective.dense.attach == "stem":
        config.vision.stem = "efficientnet_lite0"
    model = EgoDTM(config, seed=0)
    freeze_unused(model, objective)
    if model.visual.stem is not None:
        model.visual.stem.train_network(True)
    return ModelWithHeads(model, objective, 0, None)


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("attach", [pytest.param("stem", marks=needs_weights), "patches"])
def test_gradients_come_from_where_the_head_is_attached(batch, attach, depth):
    dense = dataclasses.replace(EVERY, attach=attach)
    objective = ObjectiveConfig(text=0, depth=depth, dense=dense)
    heads = with_head(objective)
    losses = objective_losses(heads, batch, objective, heads.model.config)
    weighted = losses["segmentation"] + 0.5 * losses["normals"] + 0.25 * losses["correspondence"]
    torch.testing.assert_close(losses["total"], weighted + depth * losses.get("depth", 0))
    losses["total"].backward()
    # All that is trained gets gradients: processes that train together wait for them.
    for name, parameter in heads.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    reached = [name for name, p in heads.named_parameters() if p.grad is not None]
    blocks = any(name.startswith("model.visual.transformer") for name in reached)
    assert blocks == (attach == "patches" or bool(depth))
    assert any(name.startswith("dense.") for name in reached)
    if attach == "stem":
        gradient = next(heads.model.visual.stem.network.parameters()).grad
        assert gradient.abs().sum() > 0


def test_the_head_changes_nothing_of_a_model_and_says_little_at_first(batch):
    objective = ObjectiveConfig(text=0, dense=dataclasses.replace(EVERY, attach="patches"))
    heads = with_head(objective)
    with torch.no_grad():
        plain = heads.model(batch.frames)
        found = heads(batch.frames, dense=batch.dense)
    assert torch.equal(found.video.patch_tokens, plain.video.patch_tokens)
    assert torch.equal(found.depths[-1].depth, plain.depths[-1].depth)
    assert found.further["segmentation"].item() == pytest.approx(math.log(len(CLASSES)), abs=0.1)


def test_models_and_weights_that_do_not_fit_are_refused():
    with pytest.raises(ConfigurationError, match=r"objective\.dense\.attach=patches"):
        ModelWithHeads(EgoDTM(tiny_config()), ObjectiveConfig(dense=EVERY), 0, None)
    with pytest.raises(ConfigurationError, match=r"objective\.dense"):
        DenseLossConfig(temperature=0.0)
    with pytest.raises(ConfigurationError, match="head_rate"):
        DenseLossConfig(head_rate=0.0)
    with pytest.raises(ConfigurationError, match="cells and embedding"):
        DenseLossConfig(cells=0)
    assert ObjectiveConfig(text=0, depth=0, dense=EVERY).dense.truth == tuple(
        kind for kind in DENSE_KINDS if kind != "looks"
    )
    with pytest.raises(ConfigurationError, match="one of them above 0"):
        ObjectiveConfig(text=0, depth=0)
