import numpy as np
import pytest

from egodtm_robot.core.multiplicity import holm


def test_holms_adjusted_values_are_those_of_his_steps():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([0.3]).tolist() == [0.3]
    assert holm([]).tolist() == []


def test_some_true_hypothesis_is_rejected_no_more_often_than_alpha():
    generator = np.random.default_rng(0)
    p_values = generator.random((2000, 10))
    p_values[:, 5:] *= 1e-3
    wrong = np.mean([(holm(one)[:5] <= 0.05).any() for one in p_values])
    assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.parametrize("p_values", [[0.1, 1.1], [-0.1], [np.nan, 0.2], [[0.1]]])
def test_what_is_no_p_value_is_refused(p_values):
    with pytest.raises(ValueError, match=r"p-values in \[0, 1\]"):
        holm(p_values)
