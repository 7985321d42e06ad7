"""The pretraining command: ``python pretrain/run.py``, or ``python -m pretrain.run``.

Draws the synthetic clips that are missing (or opens the stores of ``data.path``), trains the model
on them, watches it on clips of other scenes, and measures the best checkpoint on clips of a third
set of scenes. Started again with the same settings, it goes on where it was stopped, whatever
stopped it, and ends with the same weights.
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    # Python has put this folder first; what lies in it would hide packages of the same names.
    if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        sys.path[0] = str(Path(__file__).resolve().parents[1])
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from egodtm_robot.core.configuration import command
from pretrain.learning.configuration import PretrainConfig
from pretrain.learning.pretraining import pretrain
from pretrain.learning.results import describe


@command(PretrainConfig, "pretrain")
def main(config: PretrainConfig) -> None:
    """Run the pretraining and print what came of it."""
    results, run_dir = pretrain(config)
    if results is not None:
        print(describe(results, run_dir))


if __name__ == "__main__":
    main()
