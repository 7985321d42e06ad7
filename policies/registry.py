"""Finding a policy's class: by configuration for training, by ``kind`` for a checkpoint.

There is no table of policies: a file in ``configs/policy`` names the class by its import path
(``_target_``), so a new policy is a module and a file, and a user's own is an import path.
"""

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from egodtm_robot.core.errors import PolicyOptionError, UnknownNameError
from egodtm_robot.core.instantiation import (
    MISSING,
    choose,
    group_config,
    group_names,
    import_target,
    plain,
    typed_options,
)
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
    def import_path(self) -> str | None:
        """Where the class is found; None for a policy that ships, which its kind finds."""
        return import_path(self.policy_class)

    def make(self, spec: PolicySpec, generator: torch.Generator) -> Policy:
        """See :func:`policies.base.make_policy`."""
        return make_policy(self.policy_class, self.config, spec, generator)

    def to_json(self) -> dict[str, Any]:
        """Kind and options, and a user's own class's ``_target_``; :func:`choose_policy` reads it."""
        path = self.import_path
        found = {} if path is None else {"_target_": path}
        return {"kind": self.kind, **found, **dataclasses.asdict(self.config)}


def policy_names() -> tuple[str, ...]:
    """Names of the policies that have a file in ``configs/policy``."""
    return group_names("policy")


def policy_config(name: str) -> dict[str, Any]:
    """The options that ``configs/policy/<name>.yaml`` holds.

    Raises:
        UnknownNameError: there is no such file.
    """
    return group_config("policy", name)


def choose_policy(config: str | Mapping[str, Any]) -> PolicyChoice:
    """The policy that a configuration names.

    Args:
        config: a name of :func:`policy_names` for that policy with its defaults, or a mapping with
            ``_target_`` (import path of a :class:`Policy` class), ``name`` or ``kind``, and the
            class's options; see :func:`egodtm_robot.core.instantiation.choose`.

    Raises:
        UnknownNameError: no policy of that name or kind, or no such option.
        PolicyOptionError: the import path leads nowhere or to something that is no policy.
        ConfigurationError: an option has the wrong type or is out of range.
    """
    given = config if isinstance(config, str) else plain(config)
    if isinstance(given, dict) and "kind" in given:
        kind = given.pop("kind")
        found = find_policy(str(kind), given.pop("_target_", None))
        return PolicyChoice(found, typed_options("policy", found.config_class, given))
    if not given:
        raise PolicyOptionError(
            f"Expected a policy's name ({', '.join(policy_names())}) or import path, got none."
        )
    choice = choose("policy", given, PolicyOptionError)
    policy_class = _check_policy(choice.target)
    return PolicyChoice(
        policy_class, typed_options("policy", policy_class.config_class, choice.options)
    )


def find_policy(kind: str, path: str | None = None) -> type[Policy]:
    """The class of a kind.

    Args:
        kind: as a checkpoint carries it.
        path: where a user's own class was when the checkpoint was written.

    Raises:
        UnknownNameError: no policy that ships is of this kind, and there is no path.
        PolicyOptionError: the path leads nowhere, or to something that is no policy of this kind.
    """
    shipped = _shipped_policies()
    if kind in shipped:
        return shipped[kind]
    if path is None:
        raise UnknownNameError("kind of policy", kind, tuple(shipped))
    found = _check_policy(import_target("policy", path, PolicyOptionError))
    if found.kind != kind:
        raise PolicyOptionError(
            f"Expected a policy of kind {kind!r} at {path}, got one of kind {found.kind!r}."
        )
    return found


def import_path(policy_class: type[Policy]) -> str | None:
    """Where a user's own class is found; None for a policy that ships."""
    if policy_class in _shipped_policies().values():
        return None
    return f"{policy_class.__module__}.{policy_class.__qualname__}"


@functools.lru_cache
def _shipped_policies() -> dict[str, type[Policy]]:
    paths = {policy_config(name)["_target_"] for name in policy_names()} - {MISSING}
    classes = [import_target("policy", path, PolicyOptionError) for path in sorted(paths)]
    return {policy_class.kind: policy_class for policy_class in classes}


def _check_policy(found: Any) -> type[Policy]:
    if not (inspect.isclass(found) and issubclass(found, Policy)):
        raise PolicyOptionError(
            f"Expected policy._target_ to name a subclass of policies.base.Policy, got {found!r}."
        )
    if not isinstance(getattr(found, "kind", None), str):
        raise PolicyOptionError(
            f'{found.__name__} has no kind. Give it one, such as kind = "my_policy"; checkpoints '
            "name it by that."
        )
    if _shipped_policies().get(found.kind, found) is not found:
        raise PolicyOptionError(
            f"Expected {found.__name__} to have a kind of its own, got {found.kind!r}, which is a "
            "policy that ships. Give the class another kind."
        )
    return found
