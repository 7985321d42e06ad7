import pytest
import torch

from egodtm_robot.core.training.weight_average import WeightAverage


def test_the_average_follows_fast_at_first_and_slowly_later():
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.0)
    average = WeightAverage(model, 0.9)
    expected = 0.0
    for step in range(1, 101):
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.tensors()["weight"].item() == pytest.approx(expected, rel=1e-5)
    # Behind the present weights by the ten steps of its decay, and not by the whole run.
    assert expected == pytest.approx(91, abs=0.5)


def test_the_model_has_its_own_weights_again_whatever_happens():
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    average = WeightAverage(model, 0.5)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        model.weight.add_(1)
        model.bias.add_(1)
    seen = {}

    def fail() -> None:
        with average.applied():
            seen.update({name: p.detach().clone() for name, p in model.named_parameters()})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(seen["weight"], before["weight"])
    # What does not learn is not averaged.
    assert torch.equal(seen["bias"], before["bias"] + 1)
    assert torch.equal(model.weight, before["weight"] + 1)


def test_a_restored_average_is_the_same():
    model = torch.nn.Linear(2, 2)
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        model.weight.add_(1)
    average.update(5)
    other = WeightAverage(torch.nn.Linear(2, 2), 0.5)
    other.restore(average.tensors())
    for name, tensor in average.tensors().items():
        assert torch.equal(other.tensors()[name], tensor)
