import math
import sys

import pytest
import torch

from egodtm_robot.core.errors import MissingPackageError
from policies.denoising import DDIM, DIFFUSION_STEPS, FlowMatching, make_denoising


@pytest.fixture
def noise():
    return torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))


def denoise(noised, times):
    """Anything that depends on its inputs."""
    return torch.tanh(noised) * (1 + times[:, None, None]) - 0.3


def test_flow_follows_the_lines_in_equal_steps(noise):
    expected = noise.clone()
    for step in range(5):
        time = 0.2 * step
        velocity = (denoise(expected, torch.full((3,), time)) - expected) / (1 - time)
        expected = expected + 0.2 * velocity
    torch.testing.assert_close(FlowMatching(5).sample(noise, denoise), expected)


def test_flow_takes_the_steps_of_the_scheduler_of_diffusers(noise):
    scheduler = pytest.importorskip("diffusers").FlowMatchEulerDiscreteScheduler()
    # Its time runs from 1, noise, to 0, and its velocity points to the noise.
    scheduler.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25])
    expected = noise
    for step, level in enumerate(scheduler.timesteps):
        said = denoise(expected, torch.full((3,), 0.25 * step))
        velocity = (expected - said) / (1 - 0.25 * step)
        expected = scheduler.step(velocity, level, expected).prev_sample
    torch.testing.assert_close(FlowMatching(4).sample(noise, denoise), expected)


def test_lines_lead_from_noise_to_the_actions(noise):
    actions = torch.randn(noise.shape, generator=torch.Generator().manual_seed(1))
    method = FlowMatching(3)
    noised = method.noised(actions, noise, torch.tensor([0.0, 0.4, 1.0]))
    torch.testing.assert_close(noised[0], noise[0])
    torch.testing.assert_close(noised[1], 0.6 * noise[1] + 0.4 * actions[1])
    torch.testing.assert_close(noised[2], actions[2])
    torch.testing.assert_close(method.sample(noise, lambda *_: actions), actions)


def kept(level):
    """The share of the signal's variance that is left at a noise level, from its definition."""

    def curve(time):
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    share = 1.0
    for i in range(level + 1):
        step = curve((i + 1) / DIFFUSION_STEPS) / curve(i / DIFFUSION_STEPS)
        share *= 1 - min(1 - step, 0.999)
    return share


def test_ddim_takes_the_steps_of_the_closed_form(noise):
    pytest.importorskip("diffusers")
    levels = [99, 74, 49, 24]
    expected = noise.double()
    for level in levels:
        times = torch.full((3,), level / DIFFUSION_STEPS)
        actions = denoise(expected.float(), times).double()
        now, after = kept(level), kept(level - 25) if level > 25 else 1.0
        of_noise = (expected - math.sqrt(now) * actions) / math.sqrt(1 - now)
        expected = math.sqrt(after) * actions + math.sqrt(1 - after) * of_noise
    torch.testing.assert_close(DDIM(4).sample(noise, denoise), expected.float(), atol=1e-4, rtol=0)


def test_ddim_is_trained_on_actions_with_the_noise_of_their_level(noise):
    pytest.importorskip("diffusers")
    method = DDIM(4)
    actions = torch.randn(noise.shape, generator=torch.Generator().manual_seed(1))
    times = method.times(torch.tensor([0.0, 0.509, 0.999]))
    torch.testing.assert_close(times, torch.tensor([0.0, 0.5, 0.99]))
    noised = method.noised(actions, noise, times)
    for row, level in enumerate((0, 50, 99)):
        share = kept(level)
        expected = math.sqrt(share) * actions[row] + math.sqrt(1 - share) * noise[row]
        torch.testing.assert_close(noised[row], expected, atol=1e-5, rtol=0)


def test_without_diffusers_the_other_method_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert isinstance(make_denoising("flow", 2), FlowMatching)
    with pytest.raises(MissingPackageError, match=r"\[diffusion\]'.*policy\.method=flow"):
        make_denoising("ddim", 2)
