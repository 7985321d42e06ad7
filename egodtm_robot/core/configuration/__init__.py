"""The base of every command: typed configuration with errors that fit on one line.

A command is a function of one dataclass::

    @dataclass
    class CollectConfig:
        env: EnvironmentConfig = field(default_factory=EnvironmentConfig)
        episodes: PositiveInt = 50
        look: Literal["fixed", "varied"] = "fixed"

    @command(CollectConfig, "collect")
    def main(config: CollectConfig) -> None: ...

    if __name__ == "__main__":
        main()

beside a file ``configs/collect.yaml`` whose defaults list begins with the command's schema::

    defaults:
      - collect_schema
      - env: franka_kitchen_microwave
      - _self_

Choices are ``Literal``; ranges and places to write to are types of
:mod:`~egodtm_robot.core.configuration.constraints`. What does not fit is refused with its whole
key. ``__post_init__`` is for what concerns several fields. The docstring under a field is what
``--help`` and the reference pages say of it.

The command line takes ``key=value`` and Hydra's grammar of overrides, ``-m`` for a run with each
value of a sweep, ``--cfg job``, ``--help``, ``--config-dir`` and ``--config-name``. Nothing is
written on its own account: no ``outputs/`` folder, no log file, no change of directory. A field
``run_dir`` names the folder of a run; in a multirun it is the parent, and each run gets a folder
named by what was varied, such as ``encoder=pixels,seed=1``. Where it is null, the command finds a
name of its own for each run.

The module of a command begins, before it imports what is slow or may be shadowed, with::

    if __name__ == "__main__":
        from egodtm_robot.core.configuration.startup import prepare_command

        prepare_command()
"""

from egodtm_robot.core.configuration.command import (
    EXIT_USER_ERROR,
    answer_help,
    command,
    with_clean_errors,
)
from egodtm_robot.core.configuration.composition import compose
from egodtm_robot.core.configuration.constraints import (
    Bounds,
    NonNegativeInt,
    OutputFile,
    OutputFolder,
    PictureSide,
    PositiveInt,
    RunSeed,
    Seed,
    Threads,
    Workers,
)
from egodtm_robot.core.configuration.schema import from_mapping, from_yaml, to_yaml

__all__ = [
    "EXIT_USER_ERROR",
    "Bounds",
    "NonNegativeInt",
    "OutputFile",
    "OutputFolder",
    "PictureSide",
    "PositiveInt",
    "RunSeed",
    "Seed",
    "Threads",
    "Workers",
    "answer_help",
    "command",
    "compose",
    "from_mapping",
    "from_yaml",
    "to_yaml",
    "with_clean_errors",
]
