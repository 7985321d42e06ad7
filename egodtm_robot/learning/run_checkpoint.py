"""The policy that a run has chosen, among the checkpoints in its folder."""

from pathlib import Path

from egodtm_robot.core.errors import CheckpointError
from egodtm_robot.core.run_folder import RESULTS_FILE
from egodtm_robot.evaluation.results import RunResults
from policies.checkpoints import DESCRIPTION

LEARNED_POLICY = Path("checkpoints", "policy")
"""Where a run of ``train_rl`` keeps its policy, in the run's folder."""


def find_checkpoint(path: Path) -> tuple[Path, Path]:
    """The folder of the policy and the run's folder that it lies in.

    Args:
        path: the run's folder, for its chosen checkpoint; or a checkpoint's own.

    Raises:
        CheckpointError: there is no policy.
    """
    if (path / DESCRIPTION).is_file():
        return path, path.parents[1]
    if (path / RESULTS_FILE).is_file():
        results = RunResults.load(path)
        if results.reinforcement is not None:
            if (path / LEARNED_POLICY / DESCRIPTION).is_file():
                return path / LEARNED_POLICY, path
            raise CheckpointError(
                f"Expected a policy in {path / LEARNED_POLICY}, found none: the run of train_rl "
                "was made by an earlier version, or by an algorithm whose actor is neither PPO's "
                "nor SAC's. Only its own command evaluates and films it: set "
                "protocol.final_episodes and videos there."
            )
        step = results.best_checkpoint
        return path / "checkpoints" / f"step_{step:07d}", path
    raise CheckpointError(
        f"Expected a run's folder with {RESULTS_FILE}, or a checkpoint's with {DESCRIPTION}, at "
        f"{path}; it holds neither. An unfinished run has checkpoints below checkpoints/."
    )
