"""The policy that a run has chosen, among the checkpoints in its folder."""

from pathlib import Path

from egodtm_robot.core.errors import CheckpointError
from egodtm_robot.core.run_folder import RESULTS_FILE
from egodtm_robot.evaluation.results import RunResults
from policies.checkpoints import DESCRIPTION


def find_checkpoint(path: Path) -> tuple[Path, Path]:
    """The folder of the policy and the run's folder that it lies in.

    Args:
        path: the run's folder, for its chosen checkpoint; or a checkpoint's own.

    Raises:
        CheckpointError: there is no policy, or one of reinforcement learning.
    """
    if (path / DESCRIPTION).is_file():
        return path, path.parents[1]
    if (path / RESULTS_FILE).is_file():
        results = RunResults.load(path)
        if results.reinforcement is not None:
            raise CheckpointError(
                f"Expected a run of train_bc at {path}, got one of train_rl, whose networks are "
                "those of Stable-Baselines3. Its own command evaluates and films it: set "
                "protocol.final_episodes and videos there."
            )
        step = results.best_checkpoint
        return path / "checkpoints" / f"step_{step:07d}", path
    raise CheckpointError(
        f"Expected a run's folder with {RESULTS_FILE}, or a checkpoint's with {DESCRIPTION}, at "
        f"{path}; it holds neither. An unfinished run has checkpoints below checkpoints/."
    )
