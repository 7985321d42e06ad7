"""The main job from its configuration to its results: collect, embed, clone, evaluate."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from egodtm_robot.core.configuration import (
    Bounds,
    NonNegativeInt,
    OutputFolder,
    PositiveInt,
    RunSeed,
    Workers,
)
from egodtm_robot.core.devices import pick_device
from egodtm_robot.core.errors import ConfigurationError, DatasetError, StoreNotFoundError
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.kinds import stored_config
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.run_folder import StageClock, claim_run_dir, is_finished
from egodtm_robot.core.seeding import Split, episode_seeds
from egodtm_robot.core.storage.atomic_files import write_atomically
from egodtm_robot.core.training.identity import NOT_DECISIVE, options_not_decisive
from egodtm_robot.demos.collection import check_collection, collect_demonstrations
from egodtm_robot.demos.compatibility import check_compatible, check_foreign_recordings
from egodtm_robot.demos.drawing import add_images, image_modality
from egodtm_robot.demos.store import DemonstrationStore
from egodtm_robot.encoders import Encoder, make_encoder
from egodtm_robot.encoders.features import PIPELINE_FILE, FeaturePipeline, demonstration_features
from egodtm_robot.evaluation.environment_pool import make_pool
from egodtm_robot.evaluation.episode_log import EpisodeLog
from egodtm_robot.evaluation.films import FilmCollector
from egodtm_robot.evaluation.outcomes import OUTCOMES_FILE, outcomes_of, write_outcomes
from egodtm_robot.evaluation.results import (
    FURTHER_LOOKS,
    RunResults,
    not_evaluated,
    package_versions,
    success_summary,
)
from egodtm_robot.evaluation.rollouts import EvaluationResult, evaluate
from egodtm_robot.learning.behavior_cloning import PolicyCheckpoint, TrainResult, train
from egodtm_robot.learning.dataset import CachedFeatureDataset
from egodtm_robot.learning.default_run import default_run_dir
from egodtm_robot.learning.fit import check_fit
from egodtm_robot.learning.protocol import ProtocolConfig, protocol_hash
from egodtm_robot.learning.recorded_set import ActionLimits, open_recorded_set
from envs.contract import EnvironmentDescription
from envs.options import EnvironmentConfig
from envs.recorded import RecordedConfig
from envs.registry import describe_environment, environment_record, read_environment
from policies.checkpoints import load_policy
from policies.registry import PolicyChoice, choose_policy

EPISODES_FILE = "episodes.jsonl"
"""Final episodes of a run that is not finished, in its folder."""


@dataclass
class DemonstrationsConfig:
    """Which demonstrations to learn from: the ``demos`` part of the configuration."""

    path: OutputFolder | None = None
    """Folder of the store; null names it by task, resets, look, noise and seed below
    ``demonstrations/`` (and by ``env.horizon`` where it is given), so that runs share it."""

    episodes: PositiveInt | None = None
    """How many to learn from; null takes the protocol's number, or with ``env=recorded`` all.
    Missing ones are collected, where there is an environment."""

    seed: RunSeed = 0
    """Seed of the collection; apart from the run's, so that runs share demonstrations."""

    noise: Annotated[float, Bounds(0, 1)] = 0.05
    """Standard deviation of the noise on executed actions (DART); recorded ones are clean."""

    allow_foreign: bool = False
    """Whether a store of another environment, task, reset, look, horizon or control rate may be
    trained on."""

    action_limits: ActionLimits = "extremes"
    """With ``env=recorded``, the demonstrated actions that the policy's -1 and 1 stand for:
    ``extremes``, or ``quantiles`` of 1 % and 99 %, which a few stray actions do not stretch."""


@dataclass
class TrainBCConfig:
    """The main job's configuration."""

    env: dict[str, Any] = field(default_factory=dict)
    """Where demonstrations are collected and the policy is evaluated; a name of ``configs/env`` or
    an import path in ``_target_``, with the options of that environment. ``recorded`` learns from
    the store of ``demos.path``, of whatever robot, and evaluates nothing."""

    encoder: dict[str, Any] = field(
        default_factory=dict, metadata=options_not_decisive("batch_size")
    )
    """The frozen encoder; a name of ``configs/encoder`` or an import path in ``_target_``."""

    policy: dict[str, Any] = field(default_factory=dict)
    """The policy that is trained; a name of ``configs/policy`` or an import path in ``_target_``.
    Its options are those of the class's configuration, which refuses others."""

    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    """How it is trained, chosen and evaluated."""

    demos: DemonstrationsConfig = field(default_factory=DemonstrationsConfig)
    """Which demonstrations it learns from."""

    seed: RunSeed = 0
    """Decides weights, minibatches and the episodes of every evaluation."""

    evaluation_split: Literal["final", "tuning"] = "final"
    """``final``, or ``tuning`` while hyper-parameters are being chosen, so that no setting is ever
    chosen on the episodes that are reported."""

    device: str = field(default="auto", metadata=NOT_DECISIVE)
    """Where the encoder runs and the policy is trained and evaluated: cpu, cuda, cuda:1, ...; auto
    takes a GPU if there is one."""

    workers: Workers = field(default=2, metadata=NOT_DECISIVE)
    """Processes that collect, draw and step environments; 0 or 1 works in the main one."""

    environments: PositiveInt = field(default=8, metadata=NOT_DECISIVE)
    """Environments a worker steps in turn; the encoder sees all of them in one batch."""

    videos: NonNegativeInt = 3
    """Final episodes to film."""

    run_dir: OutputFolder | None = field(default=None, metadata=NOT_DECISIVE)
    """Folder of the run; null names it by task, encoder, protocol, seed and whatever else differs
    from the defaults, below ``runs/``."""

    def __post_init__(self) -> None:
        """Name the policy and the environment as they are stored, and refuse what they do not take.

        Raises:
            EgoDTMRobotError: the environment, the policy or one of their options does not fit.
        """
        if self.policy:
            # What is stored names a policy by its kind, with every option that decides the run.
            self.policy = choose_policy(self.policy).to_json()
        look = {"visual": self.protocol.visual}
        env = read_environment(self.env, unset=look)
        if isinstance(env, RecordedConfig):
            _check_recorded(self)
        else:
            _further_environments(env, self.protocol)
        self.env = environment_record(env)


def default_store_path(env: EnvironmentConfig, demos: DemonstrationsConfig) -> Path:
    """Where the demonstrations of these settings lie; runs that share settings share them."""
    parts = [env.folder, *env.presets.values(), f"noise{demos.noise:g}", f"seed{demos.seed}"]
    if env.horizon is not None:
        parts.append(f"horizon{env.horizon}")
    return Path("demonstrations", "-".join(parts))


def train_bc(config: TrainBCConfig) -> tuple[RunResults, Path]:
    """Runs the main job, or what is left of it.

    Returns:
        The results and the run's folder. A run that is finished is returned as it is.

    Raises:
        ResumeMismatchError: the run's folder holds a run with other settings.
        EgoDTMRobotError: see the parts.
    """
    device = pick_device(config.device)
    encoder = make_encoder(config.encoder).to(device)
    run_dir = Path(config.run_dir) if config.run_dir else default_run_dir(config, encoder.name)
    if is_finished(run_dir, config):
        return RunResults.load(run_dir), run_dir
    choice = choose_policy(config.policy)
    env = read_environment(config.env)
    if isinstance(env, RecordedConfig):
        return _train_on_records(config, env, choice, encoder, run_dir, device), run_dir
    environment = describe_environment(env)
    encoder.expect_states(environment.privileged_size)
    wanted = config.demos.episodes or config.protocol.demonstrations
    # Everything that can be known is checked before anything is written or takes time.
    check_fit(
        choice,
        encoder,
        dict.fromkeys(env.camera_names, (env.resolution, env.resolution)),
        environment.proprioception_size,
        environment.action_size,
    )
    check_demonstrations(config, env, environment, wanted, encoder.source == "rgb")
    claim_run_dir(run_dir, config)
    clock = StageClock(run_dir)

    with clock("collect"):
        path = provide_demonstrations(config, env, environment, wanted)
        store = DemonstrationStore.open(path)
        if encoder.source == "rgb" and not store.attributes.foreign:
            add_images(path, env, workers=config.workers, progress=_drawing_progress)
            store = DemonstrationStore.open(path)

    with clock("embed"):
        pipeline, features = demonstration_features(
            store, encoder, env.camera_names, wanted, image_modality(store, env)
        )
        pipeline.save(run_dir / PIPELINE_FILE)
    dataset = CachedFeatureDataset.from_store(
        store, features, dict.fromkeys(features, pipeline.grid), pipeline.fingerprint, wanted
    )

    with clock("train"):
        trained = _train(config, choice, run_dir, dataset, pipeline, device)

    with clock("evaluate"):
        films = FilmCollector(environment, config.videos)
        selection, chosen, final, further = _evaluate(
            config, env, run_dir, trained, pipeline, films, device
        )
        videos = films.write(run_dir / "videos")
        outcomes = [
            outcome
            for look, result in ({environment.visual: final} | further).items()
            for outcome in outcomes_of(
                result.episodes,
                environment=environment.name,
                task=environment.task,
                look=look,
                resets=environment.randomization,
                run_seed=config.seed,
                filmed=films.seeds if result is final else (),
            )
        ]
        write_outcomes(run_dir / OUTCOMES_FILE, outcomes)

    demonstrations = _demonstrations_record(store, wanted)
    results = RunResults(
        env=env.name,
        environment={
            **config.env,
            **env.presets,
            "horizon": environment.horizon,
            "model_hash": environment.model_hash,
            "preset_hashes": _preset_hashes(
                [env, *_further_environments(env, config.protocol).values()]
            ),
        },
        encoder={"name": encoder.name, "fingerprint": pipeline.fingerprint},
        policy=choice.kind,
        protocol=config.protocol.name,
        seed=config.seed,
        demos=demonstrations,
        checkpoints=selection,
        best_checkpoint=chosen.step,
        final=success_summary(len(final.episodes), final.successes)
        | {"split": config.evaluation_split, "outcomes": OUTCOMES_FILE}
        | (
            {
                FURTHER_LOOKS: {
                    look: success_summary(len(result.episodes), result.successes)
                    for look, result in further.items()
                }
            }
            if further
            else {}
        ),
        timings_s=clock.seconds,
        videos=[str(video.relative_to(run_dir)) for video in videos],
        r3m_success_rate=(
            max(entry["successes"] / entry["episodes"] for entry in selection)
            if config.protocol.report_maximum
            else None
        ),
        protocol_hash=protocol_hash(config.protocol, demonstrations, config.evaluation_split),
    )
    results.save(run_dir)
    (run_dir / EPISODES_FILE).unlink(missing_ok=True)
    return results, run_dir


def _check_recorded(config: TrainBCConfig) -> None:
    """Refuse settings of a run without an environment that only an environment could fulfil.

    Raises:
        ConfigurationError: the protocol asks for rollouts.
    """
    protocol = config.protocol
    rollouts = protocol.selection_episodes or protocol.selection == "success"
    if rollouts or protocol.report_maximum or protocol.further_looks:
        raise ConfigurationError(
            f"Expected a protocol without rollouts for env=recorded, got {protocol.name}, which "
            "chooses checkpoints by success or meets further looks. Choose protocol=quick or "
            "protocol=standard, with protocol.selection=last or validation."
        )


def _train_on_records(
    config: TrainBCConfig,
    env: RecordedConfig,
    choice: PolicyChoice,
    encoder: Encoder,
    run_dir: Path,
    device: torch.device,
) -> RunResults:
    """The main job without an environment: embed, clone, and say that nothing was evaluated.

    Raises:
        ConfigurationError: no store is named.
        EgoDTMRobotError: see the parts.
    """
    demos = config.demos
    if demos.path is None:
        raise ConfigurationError(
            "Expected demos.path with env=recorded: the store of the recordings to learn from."
        )
    recorded = open_recorded_set(
        Path(demos.path), encoder, env.camera_names, demos.episodes, demos.action_limits
    )
    store, units = recorded.store, recorded.action_range
    check_fit(choice, encoder, recorded.cameras, recorded.proprioception.shape[1], len(units.low))
    claim_run_dir(run_dir, config)
    clock = StageClock(run_dir)

    with clock("embed"):
        pipeline, features = demonstration_features(
            store, encoder, tuple(recorded.cameras), recorded.episodes
        )
        pipeline.save(run_dir / PIPELINE_FILE)
    dataset = CachedFeatureDataset.from_store(
        store,
        features,
        dict.fromkeys(features, pipeline.grid),
        pipeline.fingerprint,
        recorded.episodes,
        action_range=units,
    )
    with clock("train"):
        trained = _train(
            config, choice, run_dir, dataset, pipeline, device, {"robot": recorded.description()}
        )
    chosen = trained.checkpoints[config.protocol.choose(trained.checkpoints)]
    demonstrations = _demonstrations_record(store, recorded.episodes)
    results = RunResults(
        env=env.name,
        environment={**config.env, "model_hash": store.attributes.model_hash},
        encoder={"name": encoder.name, "fingerprint": pipeline.fingerprint},
        policy=choice.kind,
        protocol=config.protocol.name,
        seed=config.seed,
        demos=demonstrations,
        checkpoints=[],
        best_checkpoint=chosen.step,
        final=not_evaluated(
            "env=recorded has no simulator to evaluate in",
            chosen.train_loss,
            chosen.validation_loss,
        ),
        timings_s=clock.seconds,
        protocol_hash=protocol_hash(config.protocol, demonstrations, config.evaluation_split),
    )
    results.save(run_dir)
    return results


def _demonstrations_record(store: DemonstrationStore, episodes: int) -> dict[str, Any]:
    """What results say of the demonstrations."""
    return {
        "path": str(store.path),
        "episodes": episodes,
        "fingerprint": store.prefix_fingerprint(episodes),
        "noise": store.attributes.noise,
        "seed": store.attributes.seed,
        "kept": store.kept_episodes,
        "attempted": store.attempted_episodes,
    }


# -- stages ------------------------------------------------------------------------------------


def check_demonstrations(
    config: TrainBCConfig,
    env: EnvironmentConfig,
    environment: EnvironmentDescription,
    episodes: int,
    sees: bool = True,
) -> tuple[Path, int]:
    """Refuse demonstrations that cannot be learned from or added to.

    Args:
        config: of the run.
        env: the environment.
        environment: what it says of itself.
        episodes: that are wanted.
        sees: whether images are learned from.

    Returns:
        The store's folder, and how many demonstrations it holds.

    Raises:
        ForeignStoreError: the store was not made in this environment.
        DatasetError: a foreign store that was asked for holds too few episodes.
        NoDemonstratorError: there are too few, and nobody to collect further ones.
    """
    demos = config.demos
    path = Path(demos.path) if demos.path else default_store_path(env, demos)
    try:
        store = DemonstrationStore.open(path)
    except StoreNotFoundError:
        available = 0
    else:
        check_compatible(store, environment, allow_foreign=demos.allow_foreign)
        if store.attributes.foreign:
            size = (env.resolution, env.resolution)
            cameras = dict.fromkeys(env.camera_names, size) if sees else {}
            check_foreign_recordings(store, cameras, environment.name)
        available = store.num_episodes
        if available < episodes and demos.allow_foreign:
            raise DatasetError(
                f"Expected {episodes} demonstrations in {path}, which holds {available}; foreign "
                "stores are not added to. Lower demos.episodes."
            )
    if available < episodes:
        check_collection(env, path, seed=demos.seed, noise=demos.noise)
    return path, available


def provide_demonstrations(
    config: TrainBCConfig,
    env: EnvironmentConfig,
    environment: EnvironmentDescription,
    episodes: int,
) -> Path:
    """The store's folder, with at least ``episodes`` demonstrations in it.

    Raises:
        EgoDTMRobotError: see :func:`check_demonstrations` and :func:`collect_demonstrations`.
    """
    demos = config.demos
    path, available = check_demonstrations(config, env, environment, episodes, sees=False)
    if available < episodes:
        progress = Progress("collect", episodes, start=available)
        collect_demonstrations(
            env,
            path,
            episodes,
            seed=demos.seed,
            noise=demos.noise,
            workers=config.workers,
            on_progress=lambda kept, tried: progress(kept, f"tried {tried}"),
        )
    return path


def _train(
    config: TrainBCConfig,
    choice: PolicyChoice,
    run_dir: Path,
    dataset: CachedFeatureDataset,
    pipeline: FeaturePipeline,
    device: torch.device,
    provenance: Mapping[str, Any] | None = None,
) -> TrainResult:
    progress = Progress("train", config.protocol.training.steps)
    return train(
        config.protocol.training,
        choice,
        dataset,
        run_dir / "checkpoints",
        seed=config.seed,
        device=device,
        provenance={
            "environment": config.env,
            "encoder": pipeline.encoder.name,
            "encoder_config": stored_config("encoder", config.encoder),
            "encoder_fingerprint": pipeline.fingerprint,
            "dataset_fingerprint": dataset.fingerprint,
            "versions": package_versions(),
            **(provenance or {}),
        },
        event_dir=run_dir / "events",
        progress=lambda step, _, loss: progress(step, f"loss {loss:.4f}"),
    )


def _evaluate(
    config: TrainBCConfig,
    env: EnvironmentConfig,
    run_dir: Path,
    trained: TrainResult,
    pipeline: FeaturePipeline,
    films: FilmCollector,
    device: torch.device,
) -> tuple[list[dict[str, int]], PolicyCheckpoint, EvaluationResult, dict[str, EvaluationResult]]:
    """Rolls out checkpoints as the protocol says, chooses one, and meets fresh episodes with it.

    Returns:
        The rollouts of the checkpoints, the chosen one, its final episodes, and the same episodes
        under each further look.
    """
    protocol = config.protocol
    final_split: Split = "tuning" if config.evaluation_split == "tuning" else "final"
    cameras = pipeline.streams(env.camera_names)
    with make_pool(env, pipeline.source, config.workers, config.environments) as pool:
        selection_file = run_dir / "selection.json"
        selection: list[dict[str, int]] = (
            json.loads(selection_file.read_text()) if selection_file.is_file() else []
        )
        if protocol.selection_episodes:
            progress = Progress("select", len(trained.checkpoints), start=len(selection))
            for checkpoint in trained.checkpoints[len(selection) :]:
                seeds = protocol.selection_seeds(config.seed, len(selection))
                policy = load_policy(checkpoint.path, device).policy
                outcome = evaluate(policy, pipeline, cameras, pool, seeds)
                selection.append(
                    {
                        "step": checkpoint.step,
                        "episodes": len(outcome.episodes),
                        "successes": outcome.successes,
                    }
                )
                write_atomically(selection_file, json.dumps(selection).encode())
                progress(len(selection), f"step {checkpoint.step}: {outcome.success_rate:.0%}")
        chosen = trained.checkpoints[
            protocol.choose(trained.checkpoints, [entry["successes"] for entry in selection])
        ]
        policy = load_policy(chosen.path, device).policy
        seeds = episode_seeds(final_split, config.seed, protocol.final_episodes)
        log = EpisodeLog(run_dir / EPISODES_FILE, _evaluation_name(env, pipeline, chosen))
        final = evaluate(
            policy,
            pipeline,
            cameras,
            pool,
            seeds,
            film=films.request(seeds),
            finished=log,
            progress=_rollout_progress("evaluate", len(seeds)),
        )
    further = {}
    for look, look_env in _further_environments(env, protocol).items():
        with make_pool(look_env, pipeline.source, config.workers, config.environments) as pool:
            further[look] = evaluate(
                policy,
                pipeline,
                cameras,
                pool,
                seeds,
                finished=EpisodeLog(log.path, _evaluation_name(look_env, pipeline, chosen)),
                progress=_rollout_progress(f"evaluate, {look}", len(seeds)),
            )
    return selection, chosen, final, further


def _further_environments(
    env: EnvironmentConfig, protocol: ProtocolConfig
) -> dict[str, EnvironmentConfig]:
    """The environment under each further look of the protocol.

    Raises:
        ConfigurationError: a look is that of the training, or the environment has one look only.
        UnknownNameError: the environment has no such look.
    """
    trained_on = env.presets["visual"]
    if trained_on in protocol.further_looks:
        raise ConfigurationError(
            f"Expected protocol.further_looks to differ from the look {trained_on!r} of the "
            f"training (env.visual), got {protocol.further_looks}."
        )
    return {look: env.with_look(look) for look in protocol.further_looks}


def _preset_hashes(environments: Sequence[EnvironmentConfig]) -> dict[str, dict[str, str]]:
    """By option and by the name of each preset of the environments, a hash of what it draws."""
    hashes: dict[str, dict[str, str]] = {}
    for env in environments:
        for option, found in env.preset_hashes.items():
            hashes.setdefault(option, {})[env.presets[option]] = found
    return hashes


def _rollout_progress(stage: str, episodes: int) -> Callable[[int, int, int], None]:
    progress = Progress(stage, episodes, start=None)
    return lambda done, _, successes: progress(done, f"{successes} succeeded")


def _evaluation_name(
    env: EnvironmentConfig, pipeline: FeaturePipeline, checkpoint: PolicyCheckpoint
) -> str:
    """A short name for all that decides the outcome of an episode beside its seed."""
    files = sorted(path for path in checkpoint.path.iterdir() if path.is_file())
    weights = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return hash_parts(environment_record(env), pipeline.fingerprint, weights, package_versions())


def _drawing_progress(name: str, steps: int) -> Callable[[int], None]:
    progress = Progress("draw", steps)
    return lambda done: progress(done, name)
