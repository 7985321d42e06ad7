"""Finding a policy's class: by configuration for training, by ``kind`` for a checkpoint.

There is no table of policies: a file in ``configs/policy`` names the class by its import path
(``_target_``), so a new policy is a module and a file, and a user's own is an import path.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from egodtm_robot.core.configuration.instantiation import (
    choose,
    group_names,
    import_target,
    plain,
    typed_options,
)
from egodtm_robot.core.errors import PolicyOptionError, UnknownNameError
from egodtm_robot.core.kinds import declared_kind, shipped_kinds, shipped_target
from egodtm_robot.core.training.identity import without_later_defaults
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

    def make(self, spec: PolicySpec, generator: torch.Generator) -> Policy:
        """See :func:`policies.base.make_policy`."""
        return make_policy(self.policy_class, self.config, spec, generator)

    def to_json(self) -> dict[str, Any]:
        """Kind and options, with ``_target_`` for a user's own; :func:`choose_policy` reads it."""
        path = user_import_path(self.policy_class)
        found = {} if path is None else {"_target_": path}
        return {"kind": self.kind, **found, **without_later_defaults(self.config)}


def policy_names() -> tuple[str, ...]:
    """Names of the policies that have a file in ``configs/policy``."""
    return group_names("policy")


def choose_policy(config: str | Mapping[str, Any]) -> PolicyChoice:
    """The policy that a configuration names.

    Args:
        config: a name of :func:`policy_names` for that policy with its defaults, the import path of
            a :class:`Policy` class, or a mapping with ``_target_`` (such a path), ``name`` or
            ``kind``, and the class's options; see
            :func:`egodtm_robot.core.configuration.instantiation.choose`.

    Raises:
        UnknownNameError: no policy of that name or kind, or no such option.
        PolicyOptionError: no policy is named, or the import path leads nowhere or to something
            that is no policy.
        ConfigurationError: an option has the wrong type or is out of range.
    """
    if not isinstance(config, str) and "kind" in config:
        options = plain(config)
        policy_class = find_policy(str(options.pop("kind")), options.pop("_target_", None))
    else:
        choice = choose("policy", config, PolicyOptionError, Policy)
        policy_class, options = _check_policy(choice.target), choice.options
    return PolicyChoice(policy_class, typed_options("policy", policy_class.config_class, options))


def find_policy(kind: str, path: str | None = None) -> type[Policy]:
    """The class of a kind.

    Args:
        kind: as a checkpoint carries it.
        path: where a user's own class was when the checkpoint was written.

    Raises:
        UnknownNameError: no policy that ships is of this kind, and there is no path.
        PolicyOptionError: the path leads nowhere, or to something that is no policy of this kind.
    """
    path = shipped_target("policy", kind) or path
    if path is None:
        raise UnknownNameError("kind of policy", kind, shipped_kinds("policy"))
    found = _check_policy(import_target("policy", path, PolicyOptionError, Policy))
    if found.kind != kind:
        raise PolicyOptionError(
            f"Expected a policy of kind {kind!r} at {path}, got one of kind {found.kind!r}."
        )
    return found


def user_import_path(policy_class: type[Policy]) -> str | None:
    """Where a user's own class is found; None for a policy that ships."""
    if shipped_target("policy", policy_class.kind) is not None:
        return None
    return f"{policy_class.__module__}.{policy_class.__qualname__}"


def _check_policy(found: type[Policy]) -> type[Policy]:
    kind = declared_kind(found)
    if not isinstance(kind, str):
        raise PolicyOptionError(
            f'{found.__name__} declares no kind. Give it one, such as kind = "my_policy"; '
            "checkpoints name it by that."
        )
    shipped = shipped_target("policy", kind)
    if shipped is not None and import_target("policy", shipped) is not found:
        raise PolicyOptionError(
            f"Expected {found.__name__} to have a kind of its own, got {kind!r}, which is that of "
            "a policy that ships. Give the class another kind."
        )
    return found
