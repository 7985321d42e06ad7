"""The algorithm of reinforcement learning: the ``algorithm`` group of the configuration."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from egodtm_robot.core.configuration import Bounds, PositiveInt
from egodtm_robot.core.configuration.instantiation import choose, plain, typed_options
from egodtm_robot.core.errors import ConfigurationError, MissingPackageError
from egodtm_robot.core.kinds import restored_config, stored_config

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

    from egodtm_robot.learning.reinforcement.start import Start
    from policies.registry import PolicyChoice

StartKind = Literal["scratch", "clone", "residual"]
"""What an actor starts from: nothing, a cloned policy, or a frozen one that it corrects."""


@dataclass
class Algorithm(ABC):
    """An algorithm of Stable-Baselines3 and its settings; a user's own is an import path.

    A class declares its ``kind``. The module that defines it loads Stable-Baselines3 in
    :meth:`make` alone.
    """

    kind: ClassVar[str]

    steps: PositiveInt = 200_000
    """Steps of all environments together."""

    num_envs: PositiveInt = 8
    """Environments that experience comes from; unlike ``workers`` it changes results."""

    learning_rate: Annotated[float, Bounds(1e-8, 1)] = 3e-4
    """Adam's, constant."""

    discount: Annotated[float, Bounds(0, 1)] = 0.99
    """How much a reward is worth one step later."""

    batch_size: Annotated[int, Bounds(2)] = 256
    """Steps a gradient step."""

    def check_start(self, start: StartKind, policy: "PolicyChoice") -> None:
        """Refuse a start that the algorithm cannot make, before a policy is cloned.

        Args:
            start: where learning is to start.
            policy: what is cloned.

        Raises:
            ConfigurationError: it cannot start there.
        """
        if start == "clone":
            check_exact_clone(policy)

    @abstractmethod
    def make(
        self, environment: "VecEnv", start: "Start", seed: int, device: str
    ) -> "BaseAlgorithm":
        """The model, with its actor where ``start`` says.

        Args:
            environment: that it learns in, wrapped in any way.
            start: what it starts from.
            seed: of everything that is drawn.
            device: where it learns.
        """


def check_exact_clone(policy: "PolicyChoice") -> None:
    """Refuse a policy that no actor of Stable-Baselines3 can be made to act exactly like.

    Raises:
        ConfigurationError: it is no MLP, remembers frames, plans ahead, or normalizes batches.
    """
    options = policy.to_json()
    needed = {"kind": "mlp", "history": 1, "action_chunk": 1, "input_normalization": "scale"}
    other = {name: options.get(name) for name in needed if options.get(name) != needed[name]}
    if other:
        raise ConfigurationError(
            "Expected start=clone to name a policy with "
            f"{', '.join(f'{name}={value}' for name, value in needed.items())}, got "
            f"{', '.join(f'{name}={value}' for name, value in other.items())}: an actor of "
            "Stable-Baselines3 is an MLP that sees one frame and gives one action. Use "
            "start=residual, which corrects any policy."
        )


def choose_algorithm(config: str | Mapping[str, Any]) -> Algorithm:
    """The algorithm that a configuration names.

    Args:
        config: a name that has a file in ``configs/algorithm``; the import path of an
            :class:`Algorithm` class; a mapping with ``_target_`` (such a path) and the options of
            the class; or what :func:`algorithm_record` returned.

    Raises:
        UnknownNameError: no such algorithm, or no such option.
        ConfigurationError: the import path leads to no algorithm, or a value does not fit.
    """
    if not isinstance(config, str):
        config = restored_config("algorithm", plain(config))
    choice = choose("algorithm", config, base=Algorithm)
    return typed_options("algorithm", choice.target, choice.options)


def algorithm_record(config: str | Mapping[str, Any]) -> dict[str, Any]:
    """The algorithm with all its options as plain values, named by its kind."""
    algorithm = choose_algorithm(config)
    found = type(algorithm)
    target = f"{found.__module__}.{found.__qualname__}"
    return stored_config("algorithm", {"_target_": target, **dataclasses.asdict(algorithm)})


def require_stable_baselines3() -> None:
    """Refuse to go on without the package.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "Reinforcement learning needs Stable-Baselines3, which is not installed; install the "
            "extra: pip install -c constraints.txt '.[rl]'."
        ) from error
