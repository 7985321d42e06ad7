"""States that a training goes on from."""

import pytest
import torch

from egodtm_robot.core.errors import ResumeMismatchError
from egodtm_robot.core.training.states import TrainingStates, saved_states

IDENTITY = {"rate": 0.1, "data": {"clips": 3}}


def trained(steps: int):
    model = torch.nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.fill_(0.5)
        model.bias.zero_()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        model(torch.full((1, 3), float(step + 1))).sum().backward()
        optimizer.step()
    return model, optimizer


def test_a_restored_training_takes_the_same_next_step(tmp_path):
    model, optimizer = trained(4)
    TrainingStates(tmp_path / "resume", IDENTITY).save(4, model, optimizer, {"note": [1, None]})
    again, its_optimizer = trained(0)
    record = TrainingStates(tmp_path / "resume", IDENTITY).restore(again, its_optimizer)
    assert record["step"] == 4
    assert record["note"] == [1, None]
    for net, moments in ((model, optimizer), (again, its_optimizer)):
        moments.zero_grad()
        net(torch.ones(1, 3)).sum().backward()
        moments.step()
    assert torch.equal(model.weight, again.weight)
    assert torch.equal(model.bias, again.bias)


def test_two_states_are_kept_and_a_damaged_one_is_passed_over(tmp_path):
    states = TrainingStates(tmp_path / "resume", IDENTITY)
    model, optimizer = trained(1)
    assert states.restore(model, optimizer) is None
    for step in (1, 2, 3):
        states.save(step, model, optimizer, {})
    files = saved_states(tmp_path / "resume")
    assert [file.name for file in files] == [f"state_000000{i}.safetensors" for i in (2, 3)]
    files[-1].write_bytes(files[-1].read_bytes()[:100])
    assert states.restore(model, optimizer)["step"] == 2
    files[0].write_bytes(b"")
    assert states.restore(model, optimizer) is None


def test_another_runs_state_is_refused_with_what_differs(tmp_path):
    model, optimizer = trained(1)
    TrainingStates(tmp_path / "resume", IDENTITY).save(1, model, optimizer, {})
    other = TrainingStates(tmp_path / "resume", IDENTITY | {"rate": 0.2})
    with pytest.raises(ResumeMismatchError, match=r"rate: 0\.1 -> 0\.2"):
        other.restore(model, optimizer)
