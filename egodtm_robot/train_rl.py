"""Reinforcement learning from a cloned policy: ``python -m egodtm_robot.train_rl``.

Clones a policy as ``train_bc`` does (or takes the run that did), lets PPO or SAC of
Stable-Baselines3 improve it on the same frozen features, evaluates the result on the same final
episodes, films some of them, and writes and prints a success rate with its interval. Started again
with the same settings, it goes on where it was stopped, whatever stopped it.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from egodtm_robot.core.configuration import command
from egodtm_robot.evaluation.results import describe
from egodtm_robot.learning.reinforcement.reinforcement_run import TrainRLConfig, train_rl


@command(TrainRLConfig, "train_rl")
def main(config: TrainRLConfig) -> None:
    """Runs reinforcement learning and prints what came of it."""
    results, run_dir = train_rl(config)
    print(describe(results, run_dir))


if __name__ == "__main__":
    main()
