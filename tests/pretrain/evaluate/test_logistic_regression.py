import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from pretrain.evaluate.logistic_regression import PENALTIES, choose_penalty, fit


def draw(count: int, seed: int, noise: float = 1.0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    centers = np.array([[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0]])
    features = 5 * (centers[labels] + noise * generator.normal(size=(count, 3))) + 7
    return features, labels


def test_the_solution_is_that_of_another_optimizer():
    features, labels = draw(60, 0)
    found = fit(features, labels, 3, 0.01)
    rows = (features - features.mean(axis=0)) / features.std(axis=0)

    def loss(flat):
        weights, bias = flat[:9].reshape(3, 3), flat[9:]
        logs = log_softmax(rows @ weights + bias, axis=1)
        return -logs[np.arange(60), labels].mean() + 0.005 * (weights**2).sum()

    expected = minimize(loss, np.zeros(12), tol=1e-10).x
    np.testing.assert_allclose(found.weights, expected[:9].reshape(3, 3), atol=1e-4)
    scores = rows @ expected[:9].reshape(3, 3) + expected[9:]
    np.testing.assert_allclose(
        log_softmax(found.scores(features), axis=1), log_softmax(scores, axis=1), atol=1e-3
    )


def test_a_start_elsewhere_ends_at_the_same_place_and_a_constant_feature_says_nothing():
    features, labels = draw(60, 1)
    features[:, 2] = 3.0
    alone = fit(features, labels, 3, 0.1)
    warm = fit(features, labels, 3, 0.1, fit(features, labels, 3, 1.0))
    np.testing.assert_allclose(alone.weights, warm.weights, atol=1e-4)
    assert np.isfinite(alone.scores(features)).all()


def test_the_penalty_is_chosen_by_the_validation_set():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 2, 40)
    # One feature tells the class, thirty invite to learn the training set by heart.
    features = generator.normal(size=(40, 31))
    features[:, 0] += 2 * labels
    validation_labels = generator.integers(0, 2, 400)
    validation = generator.normal(size=(400, 31))
    validation[:, 0] += 2 * validation_labels
    chosen = choose_penalty(features, labels, 2, (validation, validation_labels))
    assert chosen >= 0.1
    # Where the training set itself decides, the first of the penalties without a mistake does.
    own = choose_penalty(features, labels, 2, (features, labels))
    assert own < chosen
    assert own in PENALTIES
