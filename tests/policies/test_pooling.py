from typing import get_args

import pytest
import torch

from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.errors import PoolingError, UnknownNameError
from policies.pooling import PoolingConfig, PoolingKind, make_pooling
from policies.spec import FeatureShape

SHAPE = FeatureShape(tokens=49, dimension=5, grid=(7, 7))


def pool(config, shape, tokens):
    pooling = make_pooling(config, shape)
    pooling.initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        result = pooling(tokens)
    assert result.shape == (tokens.shape[0], pooling.output_dimension)
    return result


def random_tokens(shape=SHAPE, rows=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, shape.tokens, shape.dimension, generator=generator)


def test_mean_averages_all_tokens():
    tokens = random_tokens()
    torch.testing.assert_close(pool(PoolingConfig("mean"), SHAPE, tokens), tokens.mean(1))


def test_flatten_keeps_everything_in_order():
    tokens = random_tokens()
    assert torch.equal(pool(PoolingConfig("flatten"), SHAPE, tokens), tokens.flatten(1))


def test_grid_averages_cells_where_they_are():
    shape = FeatureShape(16, 1, (4, 4))
    tokens = torch.zeros(1, 16, 1)
    tokens[0, 3] = 4.0  # first row, last column
    pooled = pool(PoolingConfig("grid", size=2), shape, tokens)
    assert pooled.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_a_grid_finer_than_the_tokens_leaves_them():
    tokens = random_tokens()
    assert torch.equal(pool(PoolingConfig("grid", size=9), SHAPE, tokens), tokens.flatten(1))


def test_grid_keeps_the_layout_of_unequal_sides():
    shape = FeatureShape(8, 2, (2, 4))
    tokens = random_tokens(shape)
    pooled = pool(PoolingConfig("grid", size=2), shape, tokens).reshape(3, 2, 2, 2)
    expected = tokens.reshape(3, 2, 2, 2, 2).mean(3)
    torch.testing.assert_close(pooled, expected)


def test_spatial_softmax_finds_where_a_channel_is():
    shape = FeatureShape(12, 1, (3, 4))
    pooling = make_pooling(PoolingConfig("spatial_softmax", keypoints=1), shape)
    pooling.initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        pooling.channels.weight.fill_(50.0)
        for row in range(3):
            for column in range(4):
                tokens = torch.zeros(1, 12, 1)
                tokens[0, row * 4 + column] = 1.0
                x, y = pooling(tokens)[0].tolist()
                assert x == pytest.approx((column + 0.5) / 2 - 1, abs=1e-5)
                assert y == pytest.approx((row + 0.5) * 2 / 3 - 1, abs=1e-5)


def test_attention_tells_positions_apart_and_learns():
    shape = FeatureShape(9, 4, (3, 3))
    pooling = make_pooling(PoolingConfig("attention", queries=2, width=8), shape)
    pooling.initialize(torch.Generator().manual_seed(0))
    tokens = random_tokens(shape)
    shuffled = tokens[:, torch.tensor([8, 7, 6, 5, 4, 3, 2, 1, 0])]
    assert not torch.allclose(pooling(tokens), pooling(shuffled), atol=1e-5)
    pooling(tokens).square().sum().backward()
    for name, parameter in pooling.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", get_args(PoolingKind))
@pytest.mark.parametrize("dimension", [0, 6])
def test_one_global_token_passes_through(kind, dimension):
    shape = FeatureShape(1, dimension)
    tokens = random_tokens(shape)
    assert torch.equal(pool(PoolingConfig(kind), shape, tokens), tokens[:, 0])


@pytest.mark.parametrize("kind", ["mean", "grid", "spatial_softmax"])
def test_pooling_over_a_grid_refuses_tokens_without_one(kind):
    with pytest.raises(PoolingError, match="5 tokens"):
        make_pooling(PoolingConfig(kind), FeatureShape(5, 3))


def test_unknown_pooling_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'attention'"):
        from_mapping(PoolingConfig, {"kind": "atention"})
    with pytest.raises(PoolingError, match="size >= 1"):
        PoolingConfig(size=0)


def fitted_principal(tokens, components):
    shape = FeatureShape(tokens.shape[1], tokens.shape[2], None)
    pooling = make_pooling(PoolingConfig("principal", components=components), shape)
    pooling.initialize(torch.Generator().manual_seed(0))
    pooling.fit(tokens)
    return pooling


@pytest.mark.parametrize("rows", [200, 20])  # more and fewer rows than values
def test_principal_components_keep_the_directions_that_vary_most(rows):
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(rows, 2, generator=generator) * torch.tensor([5.0, 2.0])
    mixing = torch.linalg.qr(torch.randn(60, 2, generator=generator))[0]
    noise = 0.01 * torch.randn(rows, 60, generator=generator)
    tokens = (hidden @ mixing.T + noise + 7.0).reshape(rows, 12, 5)
    pooled = fitted_principal(tokens, 2)(tokens)
    assert pooled.shape == (rows, 2)
    torch.testing.assert_close(pooled.mean(0), torch.zeros(2), atol=1e-3, rtol=0)
    assert abs(float(pooled.square().mean()) - 1.0) < 0.01
    # Unwhitened: the first component stays larger by the ratio of the deviations.
    spread = torch.linalg.svdvals(hidden - hidden.mean(0))
    assert abs(float(pooled[:, 0].std() / pooled[:, 1].std() - spread[0] / spread[1])) < 0.05


def test_directions_without_variance_are_left_out():
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randn(50, 1, 1, generator=generator) * torch.ones(50, 6, 2)
    pooling = fitted_principal(tokens, 4)
    pooled = pooling(tokens + 1e-3 * torch.randn(50, 6, 2, generator=generator))
    assert float(pooled[:, 1:].abs().max()) == 0.0


def test_few_values_are_not_projected():
    tokens = random_tokens(FeatureShape(1, 5))
    pooled = pool(PoolingConfig("principal", components=64), FeatureShape(1, 5), tokens)
    assert torch.equal(pooled, tokens.flatten(1))
