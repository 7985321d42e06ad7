"""Finding a policy's class: by configuration for training, by ``kind`` for a checkpoint.

There is no table of policies: a file in ``configs/policy`` names the class by its import path
(``_target_``), so a new policy is a module and a file, and a user's own is an import path.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from egodtm_robot.core.errors import PolicyOptionError, UnknownNameError
from egodtm_robot.core.instantiation import (
    choose,
    group_config,
    group_names,
    import_target,
    plain,
    typed_options,
)
from egodtm_robot.core.kinds import declared_kind, shipped_kinds, shipped_target
from policies.base import Policy, PolicyConfig, make_policy
from policies.spec import PolicySpec


@dataclass(frozen=True)
class PolicyChoice:
    """A policy's class with its options, to be made as soon as the shapes of data are known."""

    policy_class: type[Policy]
    config: PolicyConfig

    @property
    def kind(self) -> str:
        """The policy's name, as checkpoints carry it."""
        return self.policy_class.kind

    @property
    def import_path(policy_class: type[Policy]) -> str | None:
    """Where a user's own class is found; None for a policy that ships."""
    if shipped_target("policy", policy_class.kind) is not None:
        return None
    return f"{policy_class.__module__}.{policy_class.__qualname__}"


def _check_policy(found: Any) -> type[Policy]:
    if not (inspect.isclass(found) and issubclass(found, Policy)):
        raise PolicyOptionError(
            f"Expected policy._target_ to name a subclass of policies.base.Policy, got {found!r}."
        )
    kind = declared_kind(found)
    if not isinstance(kind, str):
        raise PolicyOptionError(
            f'{found.__name__} declares no kind. Give it one, such as kind = "my_policy"; '
            "checkpoints name it by that."
        )
    shipped = shipped_target("policy", kind)
    if shipped is not None and import_target("policy", shipped) is not found:
        raise PolicyOptionError(
            f"Expected {found.__name__} to have a kind of its own, got {kind!r}, which is a "
            "policy that ships. Give the class another kind."
        )
    return found
