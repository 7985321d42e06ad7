"""From noise to actions: how actions are noised in training, and how noise becomes actions.

``flow``: straight lines lead from noise to the actions (Lipman et al., Flow Matching for Generative
Modeling, arXiv 2210.02747; Liu et al., arXiv 2209.03003), and are followed in a few steps of equal
length. ``ddim``: a diffusion (Ho et al. 2020) that is sampled without noise between the steps (Song
et al., arXiv 2010.02502), by the scheduler of the library diffusers.

Under both, the denoiser says the actions themselves. To say the velocity or the noise it would have
to repeat all of its noisy input, which costs a small network precision (docs/results/policies.md
has the figures); at the highest noise level, where sampling begins, a small error of the noise is
a large one of the actions besides.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor

from egodtm_robot.core.errors import MissingPackageError

Method = Literal["flow", "ddim"]

DIFFUSION_STEPS = 100
"""Noise levels of ``ddim`` in training, as in Diffusion Policy (Chi et al., arXiv 2303.04137)."""


class Denoising(ABC):
    """How actions are noised for training, and how noise becomes actions."""

    @abstractmethod
    def times(self, uniform: Tensor) -> Tensor:
        """Times in [0, 1] of training from uniform numbers (B,) in [0, 1)."""

    @abstractmethod
    def noised(self, actions: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Actions with as much noise as the times say, (B, C, A).

        Args:
            actions: standardized, (B, C, A).
            noise: standard normal, of that shape.
            times: (B,), see :meth:`times`.
        """

    @abstractmethod
    def sample(self, noise: Tensor, denoise: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Actions (B, C, A) from noise of that shape.

        Args:
            noise: standard normal.
            denoise: the denoiser, which says actions of noised actions (B, C, A) and times (B,).
        """


class FlowMatching(Denoising):
    """Straight lines from noise at time 0 to the actions at time 1, followed by Euler steps.

    Args:
        steps: of equal length. One step gives the mean of the actions, as regression does.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def times(self, uniform: Tensor) -> Tensor:
        """The numbers themselves."""
        return uniform

    def noised(self, actions: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The point on the line."""
        share = times[:, None, None]
        return (1 - share) * noise + share * actions

    def sample(self, noise: Tensor, denoise: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Follow the line from where it is to the actions that the denoiser says."""
        actions = noise
        for step in range(self.steps):
            times = noise.new_full((noise.shape[0],), step / self.steps)
            said = denoise(actions, times)
            # The last step arrives at what is said there.
            actions = actions + (said - actions) / (self.steps - step)
        return actions


class DDIM(Denoising):
    """Diffusion under the squared cosine schedule (Nichol and Dhariwal, arXiv 2102.09672).

    Args:
        steps: of sampling, at most :data:`DIFFUSION_STEPS`.

    Raises:
        MissingPackageError: diffusers is not installed.
    """

    def __init__(self, steps: int) -> None:
        try:
            # Imported here: it is an extra, and takes half a second.
            from diffusers import DDIMScheduler
        except ImportError as error:
            raise MissingPackageError(
                "policy.method=ddim needs the library diffusers, which is not installed. Run "
                "pip install 'egodtm-robot[diffusion]', or choose policy.method=flow."
            ) from error
        # A checkpoint's policy is made on the meta device, where numbers have no value.
        with torch.device("cpu"):
            self._scheduler = cast(Any, DDIMScheduler)(
                num_train_timesteps=DIFFUSION_STEPS,
                beta_schedule="squaredcos_cap_v2",
                prediction_type="sample",
                clip_sample=False,
                # The last noise level comes first, as noise alone is what sampling begins with
                # (Lin et al., arXiv 2305.08891).
                timestep_spacing="trailing",
            )
            self._scheduler.set_timesteps(steps)

    def times(self, uniform: Tensor) -> Tensor:
        """One of the noise levels, as a share of them."""
        return (uniform * DIFFUSION_STEPS).floor() / DIFFUSION_STEPS

    def noised(self, actions: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Actions with the noise of the level."""
        levels = (times * DIFFUSION_STEPS).round().long()
        noised: Tensor = self._scheduler.add_noise(actions, noise, levels)
        return noised

    def sample(self, noise: Tensor, denoise: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Go down the noise levels."""
        actions = noise
        for level in self._scheduler.timesteps.tolist():
            times = noise.new_full((noise.shape[0],), float(level) / DIFFUSION_STEPS)
            said = denoise(actions, times)
            actions = self._scheduler.step(said, level, actions).prev_sample
        return actions


def make_denoising(method: Method, steps: int) -> Denoising:
    """The method of that name.

    Raises:
        MissingPackageError: it needs a library that is not installed.
    """
    return FlowMatching(steps) if method == "flow" else DDIM(steps)
