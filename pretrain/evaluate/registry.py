"""Making evaluation tasks from their names, as encoders and sources are made from theirs.

There is no table of tasks: a file in ``configs/evaluation_task`` names the class by its import path
(``_target_``), so a new task is a module and a file, and a user's own is an import path.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from egodtm_robot.core.configuration.instantiation import (
    check_options,
    choose,
    group_names,
)
from egodtm_robot.core.errors import ConfigurationError
from pretrain.evaluate.task import EvaluationTask

GROUP = "evaluation_task"


def task_names() -> tuple[str, ...]:
    """Names of the tasks that have a file in ``configs/evaluation_task``."""
    return group_names(GROUP)


def make_task(config: str | Mapping[str, Any]) -> EvaluationTask:
    """Build a task.

    Args:
        config: a name of :func:`task_names`; an import path of a class, which has a dot; or a
            mapping with ``_target_`` (import path), the class's options and, optionally, the
            ``name`` that results call it.

    Raises:
        UnknownNameError: no task of that name, or no such option.
        ConfigurationError: the import path leads nowhere or to no task, an option is missing, or
            the task has no name.
    """
    choice = choose(GROUP, config, base=EvaluationTask)
    check_options(GROUP, choice.target, choice.options)
    task: EvaluationTask = choice.target(**choice.options)
    task.options = choice.options
    if choice.name is not None:
        task.name = choice.name
    if not task.name.isidentifier():
        raise ConfigurationError(
            f"Expected {choice.path} to have a name of letters, digits and underscores, got "
            f"{task.name!r}. Set the attribute name of the class."
        )
    return task


def make_tasks(configs: str | Sequence[str | Mapping[str, Any]]) -> list[EvaluationTask]:
    """Build several tasks; ``all`` stands for those of :func:`task_names`.

    Raises:
        ConfigurationError: two tasks have one name, there are none, it is no list, or see
            :func:`make_task`.
    """
    if isinstance(configs, str):
        configs = task_names() if configs == "all" else [configs]
    if not isinstance(configs, Sequence):
        raise ConfigurationError(
            f"Expected tasks=all or a list of tasks such as tasks=[retrieval,depth], got {configs}."
        )
    tasks = [make_task(config) for config in configs]
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(
            f"Expected at least one evaluation task and each name once, got {names}. Give a second "
            "task of one class a name: {_target_: ..., name: ...}."
        )
    return tasks
