"""Evaluates and films a trained policy: ``python -m egodtm_robot.rollout checkpoint=runs/...``."""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from egodtm_robot.core.configuration import (
    NonNegativeInt,
    OutputFile,
    OutputFolder,
    PositiveInt,
    RunSeed,
    Workers,
    command,
)
from egodtm_robot.core.devices import pick_device
from egodtm_robot.core.errors import CheckpointError
from egodtm_robot.core.kinds import restored_config
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.seeding import episode_seeds
from egodtm_robot.encoders import make_encoder
from egodtm_robot.encoders.features import PIPELINE_FILE, FeaturePipeline
from egodtm_robot.evaluation.environment_pool import make_pool
from egodtm_robot.evaluation.films import FilmCollector
from egodtm_robot.evaluation.results import RESULTS_FILE, RunResults, success_summary
from egodtm_robot.evaluation.rollouts import evaluate
from envs.registry import describe_environment, read_environment
from policies.checkpoints import DESCRIPTION, load_policy


@dataclass
class RolloutConfig:
    """What to roll out."""

    checkpoint: str = "???"
    """A run's folder (its chosen checkpoint) or a checkpoint's own folder."""

    episodes: PositiveInt = 50
    """Episodes, each with a seed of its own."""

    seed: RunSeed = 0
    """Which final episodes: those of a run with this seed."""

    env: dict[str, Any] = field(default_factory=dict)
    """Settings to change from those of the training, e.g. ``+env.visual=shifted``."""

    video: OutputFolder | None = None
    """Folder for films of the first episodes; null films nothing."""

    videos: NonNegativeInt = 6
    """How many episodes to film."""

    out: OutputFile | None = None
    """File for the outcomes as JSON, an entry an episode."""

    device: str = "auto"
    """Where the encoder and the policy run: cpu, cuda, cuda:1, ...; auto takes a GPU if there is
    one."""

    workers: Workers = 2
    """Processes that step and draw."""

    environments: PositiveInt = 8
    """Environments a process."""


def find_checkpoint(path: Path) -> tuple[Path, Path]:
    """The folder of the policy and the run's folder that it lies in.

    Raises:
        CheckpointError: there is no policy.
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


def rollout(config: RolloutConfig) -> dict[str, Any]:
    """Rolls the policy out and returns the summary with an entry an episode."""
    folder, run_dir = find_checkpoint(Path(config.checkpoint))
    device = pick_device(config.device)
    loaded = load_policy(folder, device)
    encoder_config = restored_config("encoder", loaded.provenance["encoder_config"])
    encoder = make_encoder(encoder_config).to(device)
    env = read_environment({**loaded.provenance["environment"], **config.env})
    environment = describe_environment(env)
    encoder.expect_states(environment.privileged_size)
    pipeline = FeaturePipeline.load(run_dir / PIPELINE_FILE, encoder)
    loaded.require_encoder(pipeline.fingerprint)

    films = FilmCollector(environment, config.videos if config.video else 0)
    seeds = episode_seeds("final", config.seed, config.episodes)
    progress = Progress("rollout", len(seeds))
    with make_pool(env, pipeline.source, config.workers, config.environments) as pool:
        outcome = evaluate(
            loaded.policy,
            pipeline,
            pipeline.streams(env.camera_names),
            pool,
            seeds,
            film=films.request(seeds),
            progress=lambda done, _, successes: progress(done, f"{successes} succeeded"),
        )
    videos = films.write(Path(config.video)) if config.video else []
    return success_summary(len(outcome.episodes), outcome.successes) | {
        "checkpoint": str(folder),
        "env": env.name,
        "episode_results": [asdict(episode) for episode in outcome.episodes],
        "videos": [str(video) for video in videos],
    }


@command(RolloutConfig, "rollout")
def main(config: RolloutConfig) -> None:
    """Rolls out and prints the success rate with its interval."""
    summary = rollout(config)
    if config.out is not None:
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(summary, indent=2) + "\n")
    low, high = summary["wilson95"]
    print(
        f"{summary['env']}: {summary['success_rate']:.1%} success, {summary['successes']} of "
        f"{summary['episodes']} episodes, 95 % interval {low:.1%} to {high:.1%} (Wilson)"
    )
    for video in summary["videos"]:
        print(f"  {video}")


if __name__ == "__main__":
    main()
