import pytest
import torch

from policies.normalization import Standardizer


def test_fitted_values_have_zero_mean_and_unit_deviation():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(500, 3, 4, generator=generator) * torch.tensor([1e-3, 1.0, 5.0, 2.0]) + 7
    standardizer = Standardizer(4)
    standardizer.fit(values)
    result = standardizer(values).reshape(-1, 4)
    torch.testing.assert_close(result.mean(0), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        result[:, 1:].std(0, unbiased=False), torch.ones(3), atol=1e-4, rtol=0
    )


def test_inverse_undoes_forward():
    values = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1
    standardizer = Standardizer(4)
    standardizer.fit(values)
    torch.testing.assert_close(standardizer.inverse(standardizer(values)), values)


def test_a_dimension_that_hardly_moves_is_not_blown_up():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(100, 3, generator=generator)
    values[:, 1] = 0.3 + 1e-7 * values[:, 1]
    values[:, 2] = 5.0
    standardizer = Standardizer(3)
    standardizer.fit(values)
    assert standardizer(values + 0.01)[:, 1:].abs().max() < 0.02


def test_constant_values_are_centered():
    standardizer = Standardizer(2)
    standardizer.fit(torch.full((10, 2), 3.0))
    assert standardizer(torch.full((1, 2), 3.5)).tolist() == [[0.5, 0.5]]
    standardizer.fit(torch.full((10, 2), 3.0), shared_scale=True)
    assert standardizer(torch.full((1, 2), 3.5)).tolist() == [[0.5, 0.5]]


def test_a_shared_scale_keeps_the_ratio_of_deviations():
    values = torch.randn(2_000, 2, generator=torch.Generator().manual_seed(0))
    values = values * torch.tensor([4.0, 1.0])
    standardizer = Standardizer(2)
    standardizer.fit(values, shared_scale=True)
    deviation = standardizer(values).std(0)
    assert deviation[0] / deviation[1] == pytest.approx(4.0, rel=0.1)
    assert standardizer(values).square().mean() == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("shape", [(0, 3), (5, 0)])
def test_nothing_to_fit_leaves_the_identity(shape):
    standardizer = Standardizer(shape[1])
    standardizer.fit(torch.zeros(shape))
    values = torch.ones(2, shape[1])
    assert torch.equal(standardizer(values), values)


def test_large_data_far_from_zero_is_fitted_exactly():
    values = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0)) + 1_000
    standardizer = Standardizer(1)
    standardizer.fit(values)
    assert float(standardizer.mean) == pytest.approx(float(values.double().mean()), rel=1e-6)
    assert float(standardizer.scale) == pytest.approx(float(values.double().std()), rel=1e-4)
