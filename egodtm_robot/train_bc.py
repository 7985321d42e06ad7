"""The main job: ``python -m egodtm_robot.train_bc env=franka_kitchen_microwave``.

Collects demonstrations (or opens those of ``demos.path``), embeds them once with a frozen encoder,
clones the behavior, evaluates the policy on fresh episodes, films some of them, and writes and
prints a success rate with its interval. Started again with the same settings, it goes on where it
was stopped, whatever stopped it, and ends with the same weights and outcomes.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from egodtm_robot.core.configuration import command
from egodtm_robot.evaluation.results import describe
from egodtm_robot.learning.cloning_run import TrainBCConfig, train_bc


@command(TrainBCConfig, "train_bc")
def main(config: TrainBCConfig) -> None:
    """Runs the main job and prints what came of it."""
    results, run_dir = train_bc(config)
    print(describe(results, run_dir))


if __name__ == "__main__":
    main()
