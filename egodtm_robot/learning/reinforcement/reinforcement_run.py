"""A run of reinforcement learning from its configuration to its results."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch

from egodtm_robot.core.configuration import Bounds, NonNegativeInt, OutputFolder, PositiveInt
from egodtm_robot.core.devices import pick_device
from egodtm_robot.core.fingerprints import hash_file, hash_tensors
from egodtm_robot.core.kinds import stored_config
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.run_folder import StageClock, claim_run_dir, is_finished
from egodtm_robot.core.seeding import episode_seeds
from egodtm_robot.core.training.identity import ADDED_LATER, NOT_DECISIVE
from egodtm_robot.core.training.states import TrainingStates
from egodtm_robot.core.training.torch_threads import torch_threads
from egodtm_robot.encoders import make_encoder
from egodtm_robot.evaluation.environment_pool import EnvironmentPool, make_pool
from egodtm_robot.evaluation.results import RunResults, package_versions
from egodtm_robot.evaluation.rollouts import evaluate
from egodtm_robot.learning.cloning_run import (
    EPISODES_FILE,
    PreparedDemonstrations,
    TrainBCConfig,
    check_start,
    checkpoint_provenance,
    evaluate_finally,
    prepare_demonstrations,
    run_results,
    train_bc,
)
from egodtm_robot.learning.default_run import default_run_dir
from egodtm_robot.learning.reinforcement.algorithm import (
    Algorithm,
    StartKind,
    algorithm_record,
    choose_algorithm,
    require_stable_baselines3,
)
from egodtm_robot.learning.reinforcement.reward import RewardConfig
from egodtm_robot.learning.run_checkpoint import LEARNED_POLICY
from envs.options import EnvironmentConfig
from envs.registry import describe_environment, read_environment
from policies.base import Policy
from policies.checkpoints import load_policy, save_policy
from policies.registry import choose_policy

if TYPE_CHECKING:
    from egodtm_robot.learning.reinforcement.agent import Agent
    from egodtm_robot.learning.reinforcement.training import AgentCheckpoint


@dataclass
class TrainRLConfig(TrainBCConfig):
    """The configuration of reinforcement learning: that of the main job, and what is learned."""

    policy: dict[str, Any] = field(default_factory=dict)
    """The policy that is cloned first, and whose pooling and hidden layers the actor has; a name of
    ``configs/policy`` or an import path in ``_target_``."""

    algorithm: dict[str, Any] = field(default_factory=dict)
    """The algorithm that learns; a name of ``configs/algorithm`` or an import path in
    ``_target_``."""

    start: StartKind = "residual"
    """Where learning starts. ``residual``: a correction of the cloned policy, which stays as it is;
    any policy can be corrected. ``clone``: the cloned policy itself, which must be an MLP.
    ``scratch``: nothing but the statistics of the demonstrations."""

    clone: OutputFolder | None = field(default=None, metadata=NOT_DECISIVE)
    """Folder of the cloned policy's run, which is made if it is missing and must have the same
    settings; null takes the folder that ``train_bc`` takes with them."""

    residual_scale: Annotated[float, Bounds(1e-3, 100)] = 0.5
    """With ``start=residual``: the largest correction, in standard deviations of the demonstrated
    actions of each dimension."""

    reward: RewardConfig = field(default_factory=RewardConfig)
    """What is learned to get."""

    evaluate_every: PositiveInt = 5_000
    """Steps of experience between two evaluations, each with a checkpoint and a state to resume
    from. All environments begin anew after one."""

    evaluate_episodes: NonNegativeInt = 20
    """Episodes of each evaluation, the same ones each time, apart from the final ones."""

    choose: Literal["best", "last"] = "best"
    """Which checkpoint is the run's policy: that with most successes in its evaluation (of equals
    the latest), or the last one."""

    callbacks: list[dict[str, Any]] = field(default_factory=list, metadata=ADDED_LATER)
    """Callbacks of Stable-Baselines3 or of your own: of each, its import path in ``_target_`` and
    the arguments of its constructor. One that stops learning ends it."""

    def __post_init__(self) -> None:
        """Name the algorithm as it is stored too, and refuse what it does not take.

        Raises:
            EgoDTMRobotError: an option does not fit.
        """
        super().__post_init__()
        if self.algorithm:
            self.algorithm = algorithm_record(self.algorithm)


def train_rl(config: TrainRLConfig) -> tuple[RunResults, Path]:
    """Runs reinforcement learning, or what is left of it.

    Returns:
        The results and the run's folder. A run that is finished is returned as it is.

    Raises:
        MissingPackageError: Stable-Baselines3 is not installed.
        ResumeMismatchError: the run's folder, or that of the clone, holds a run with other
            settings.
        EgoDTMRobotError: see the parts.
    """
    require_stable_baselines3()
    from egodtm_robot.learning.reinforcement.callbacks import make_callbacks
    from egodtm_robot.learning.reinforcement.training import WEIGHTS, load_weights

    make_callbacks(config.callbacks)  # refused before anything is written
    device = pick_device(config.device)
    encoder = make_encoder(config.encoder).to(device)
    algorithm = choose_algorithm(config.algorithm)
    run_dir = _run_dir(config, encoder.name, algorithm)
    if is_finished(run_dir, config):
        return RunResults.load(run_dir), run_dir
    choice = choose_policy(config.policy)
    env = read_environment(config.env)
    environment = describe_environment(env)
    encoder.expect_states(environment.privileged_size)
    # Everything that can be known is checked before anything is written or takes time.
    check_start(config, choice, encoder, env, environment)
    algorithm.check_start(config.start, choice)
    clone_dir, clone = (None, None) if config.start == "scratch" else _cloned(config, device)
    claim_run_dir(run_dir, config)
    clock = StageClock(run_dir)
    prepared = prepare_demonstrations(config, env, environment, encoder, run_dir, clock)

    with torch_threads(config.protocol.training.threads):
        with clock("train"):
            checkpoints, agent = _learn(config, algorithm, env, run_dir, prepared, clone, device)
            chosen = _chosen(config, checkpoints)
            load_weights(agent.actor, chosen.path)
        with clock("evaluate"):
            _keep_policy(config, run_dir, agent, prepared, chosen.step)
            digests = [hash_file(chosen.path / WEIGHTS)]
            if clone is not None:
                digests.append(hash_tensors(clone.state_dict()))
            final = evaluate_finally(
                config, env, environment, run_dir, agent, digests, prepared.pipeline
            )
    results = run_results(
        config,
        env,
        environment,
        prepared,
        final,
        policy=f"{choice.kind}+{algorithm.kind}",
        selection=[
            {"step": one.step, "episodes": one.episodes, "successes": one.successes}
            for one in checkpoints
        ],
        chosen=chosen.step,
        timings_s=clock.seconds,
        reinforcement={
            "algorithm": algorithm.kind,
            "start": config.start,
            "steps": checkpoints[-1].step,
            "clone": None if clone_dir is None else str(clone_dir),
        },
    )
    results.save(run_dir)
    (run_dir / EPISODES_FILE).unlink(missing_ok=True)
    return results, run_dir


def _run_dir(config: TrainRLConfig, encoder_name: str, algorithm: Algorithm) -> Path:
    if config.run_dir:
        return Path(config.run_dir)
    return default_run_dir(config, encoder_name, "train_rl", {"algorithm": algorithm.kind})


def _cloned(config: TrainRLConfig, device: torch.device) -> tuple[Path, Policy]:
    """The folder of the cloned policy's run, which is run where it is missing, and the policy."""
    names = [one.name for one in dataclasses.fields(TrainBCConfig)]
    settings = {name: getattr(config, name) for name in names} | {"run_dir": config.clone}
    results, folder = train_bc(TrainBCConfig(**settings))
    loaded = load_policy(folder / "checkpoints" / f"step_{results.best_checkpoint:07d}", device)
    loaded.require_encoder(results.encoder["fingerprint"])
    return folder, loaded.policy


def _chosen(config: TrainRLConfig, checkpoints: "Sequence[AgentCheckpoint]") -> "AgentCheckpoint":
    if config.choose == "last":
        return checkpoints[-1]
    return max(checkpoints, key=lambda one: (one.successes, one.step))


def _keep_policy(
    config: TrainRLConfig,
    run_dir: Path,
    agent: "Agent",
    prepared: PreparedDemonstrations,
    step: int,
) -> None:
    """Write what rollouts and exports read: the actor, and the policy that it corrects with it."""
    from egodtm_robot.learning.reinforcement.learned_policy import learned_policy

    scale = np.ones(prepared.dataset.spec.actions) if agent.scale is None else agent.scale
    policy = learned_policy(agent.actor, agent.base, scale)
    if policy is not None:
        provenance = checkpoint_provenance(config, prepared.pipeline, prepared.dataset)
        save_policy(policy, run_dir / LEARNED_POLICY, {**provenance, "step": step})


def _learn(
    config: TrainRLConfig,
    algorithm: Algorithm,
    env: EnvironmentConfig,
    run_dir: Path,
    prepared: PreparedDemonstrations,
    clone: Policy | None,
    device: torch.device,
) -> "tuple[list[AgentCheckpoint], Agent]":
    """Learn, and give the checkpoints with what acts by the networks of the last one."""
    from stable_baselines3.common.vec_env import VecEnv, VecMonitor

    from egodtm_robot.learning.reinforcement.agent import Agent
    from egodtm_robot.learning.reinforcement.callbacks import make_callbacks
    from egodtm_robot.learning.reinforcement.residual import ResidualVecEnv
    from egodtm_robot.learning.reinforcement.start import make_start
    from egodtm_robot.learning.reinforcement.training import learn
    from egodtm_robot.learning.reinforcement.transitions import demonstrated_progress
    from egodtm_robot.learning.reinforcement.vector_environment import FeatureVecEnv

    pipeline, dataset = prepared.pipeline, prepared.dataset
    start = make_start(
        config.start,
        clone,
        choose_policy(config.policy).config,
        dataset,
        demonstrated_progress(prepared.store, env, prepared.episodes),
        config.reward,
        algorithm.discount,
        config.residual_scale,
        config.seed,
    )
    cameras = pipeline.streams(env.camera_names)
    states = TrainingStates(
        run_dir / "checkpoints" / "resume", _identity(config, prepared, start.fingerprint)
    )
    with _training_pool(config, algorithm, env, pipeline.source) as pool:
        bottom = FeatureVecEnv(
            pool, pipeline, dataset.spec, config.reward, algorithm.discount, algorithm.num_envs
        )
        environment: VecEnv = bottom
        if start.base is not None:
            environment = ResidualVecEnv(bottom, start.base, start.scale)
        model = algorithm.make(VecMonitor(environment), start, config.seed, str(device))
        agent = Agent(model.policy, start.base, start.scale)

        def tried() -> tuple[int, int]:
            if not config.evaluate_episodes:
                return 0, 0
            seeds = episode_seeds("selection", config.seed, config.evaluate_episodes)
            found = evaluate(agent, pipeline, cameras, pool, seeds)
            return len(found.episodes), found.successes

        report = Progress("learn", algorithm.steps, start=None)
        checkpoints = learn(
            model,
            bottom,
            states,
            run_dir / "checkpoints",
            steps=algorithm.steps,
            segment=config.evaluate_every,
            evaluate=tried,
            event_dir=run_dir / "events",
            progress=report,
            callbacks=make_callbacks(config.callbacks),
        )
    return checkpoints, agent


def _training_pool(
    config: TrainRLConfig,
    algorithm: Algorithm,
    env: EnvironmentConfig,
    source: str,
) -> EnvironmentPool:
    """Room for the environments that experience comes from, spread over the processes."""
    processes = min(config.workers, algorithm.num_envs)
    each = -(-algorithm.num_envs // max(processes, 1))
    return make_pool(env, source, processes, each)


def _identity(
    config: TrainRLConfig, prepared: PreparedDemonstrations, start: str
) -> dict[str, Any]:
    """Everything that decides the weights."""
    return {
        "env": config.env,
        "encoder": stored_config("encoder", config.encoder),
        "algorithm": config.algorithm,
        "reward": config.reward,
        **({"callbacks": config.callbacks} if config.callbacks else {}),
        "evaluate_every": config.evaluate_every,
        "seed": config.seed,
        "dataset": prepared.dataset.fingerprint,
        "start": start,
        "versions": package_versions(),
    }
