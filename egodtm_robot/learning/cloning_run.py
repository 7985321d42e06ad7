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
from egodtm_robot.encoders import Encoder, check_encoder, make_encoder
from egodtm_robot.encoders.features import (
    PIPELINE_FILE,
    FeaturePipeline,
    demonstration_features,
    shifted_features,
)
from egodtm_robot.encoders.shifts import AugmentationConfig
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
from egodtm_robot.evaluation.rollouts import EvaluationResult, Predictor, evaluate
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

    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """Shifted copies of the demonstrated images that it also learns from."""

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
    # What it needs only later, such as weights that an adaptation holds to, is known now.
    check_encoder(config.encoder)
    choice = choose_policy(config.policy)
    env = read_environment(config.env)
    if isinstance(env, RecordedConfig):
        return _train_on_records(config, env, choice, encoder, run_dir, device), run_dir
    environment = describe_environment(env)
    encoder.expect_states(environment.privileged_size)
    check_start(config, choice, encoder, env, environment)
    claim_run_dir(run_dir, config)
    clock = StageClock(run_dir)

    prepared = prepare_demonstrations(config, env, environment, encoder, run_dir, clock)
    pipeline = prepared.pipeline

    with clock("train"):
        trained = _train(config, choice, run_dir, prepared.dataset, pipeline, device)

    with clock("evaluate"):
        selection, chosen = _select(config, env, run_dir, trained, pipeline, device)
        final = evaluate_finally(
            config,
            env,
            environment,
            run_dir,
            load_policy(chosen.path, device).policy,
            checkpoint_digests(chosen.path),
            pipeline,
        )

    results = run_results(
        config,
        env,
        environment,
        prepared,
        final,
        policy=choice.kind,
        selection=selection,
        chosen=chosen.step,
        timings_s=clock.seconds,
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
    config.augmentation.check(encoder.source, encoder.name)
    check_fit(choice, encoder, recorded.cameras, recorded.proprioception.shape[1], len(units.low))
    claim_run_dir(run_dir, config)
    clock = StageClock(run_dir)

    with clock("embed"):
        cameras = tuple(recorded.cameras)
        pipeline, features = demonstration_features(store, encoder, cameras, recorded.episodes)
        shifted = shifted_features(store, pipeline, cameras, config.augmentation, recorded.episodes)
        pipeline.save(run_dir / PIPELINE_FILE)
    dataset = CachedFeatureDataset.from_store(
        store,
        features,
        dict.fromkeys(features, pipeline.grid),
        pipeline.fingerprint,
        recorded.episodes,
        shifted,
        config.augmentation,
        units,
    )
    with clock("train"):
        trained = _train(
            config, choice, run_dir, dataset, pipeline, device, {"robot": recorded.description()}
        )
    chosen = trained.checkpoints[config.protocol.choose(trained.checkpoints)]
    prepared = PreparedDemonstrations(store, recorded.episodes, pipeline, dataset)
    demonstrations = prepared.to_json()
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


def check_start(
    config: TrainBCConfig,
    choice: PolicyChoice,
    encoder: Encoder,
    env: EnvironmentConfig,
    environment: EnvironmentDescription,
) -> None:
    """Check everything that can be known before anything is written or takes time.

    Raises:
        EgoDTMRobotError: policy, encoder, environment and demonstrations do not fit together.
    """
    config.augmentation.check(encoder.source, encoder.name)
    check_fit(
        choice,
        encoder,
        dict.fromkeys(env.camera_names, (env.resolution, env.resolution)),
        environment.proprioception_size,
        environment.action_size,
    )
    wanted = config.demos.episodes or config.protocol.demonstrations
    check_demonstrations(config, env, environment, wanted, encoder.source == "rgb")


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


@dataclass(frozen=True)
class PreparedDemonstrations:
    """Demonstrations with features, ready to be learned from.

    Attributes:
        store: that holds them.
        episodes: how many are learned from.
        pipeline: what made the features.
        dataset: in memory.
    """

    store: DemonstrationStore
    episodes: int
    pipeline: FeaturePipeline
    dataset: CachedFeatureDataset

    def to_json(self) -> dict[str, Any]:
        """What results say of them."""
        return {
            "path": str(self.store.path),
            "episodes": self.episodes,
            "fingerprint": self.store.prefix_fingerprint(self.episodes),
            "noise": self.store.attributes.noise,
            "seed": self.store.attributes.seed,
            "kept": self.store.kept_episodes,
            "attempted": self.store.attempted_episodes,
        }


def prepare_demonstrations(
    config: TrainBCConfig,
    env: EnvironmentConfig,
    environment: EnvironmentDescription,
    encoder: Encoder,
    run_dir: Path,
    clock: StageClock,
) -> PreparedDemonstrations:
    """Collect what is missing, draw and embed it, and keep the pipeline in the run's folder.

    Raises:
        EgoDTMRobotError: see the parts.
    """
    wanted = config.demos.episodes or config.protocol.demonstrations
    with clock("collect"):
        path = provide_demonstrations(config, env, environment, wanted)
        store = DemonstrationStore.open(path)
        if encoder.source == "rgb" and not store.attributes.foreign:
            add_images(path, env, workers=config.workers, progress=_drawing_progress)
            store = DemonstrationStore.open(path)

    with clock("embed"):
        modality = image_modality(store, env)
        pipeline, features = demonstration_features(
            store, encoder, env.camera_names, wanted, modality
        )
        shifted = shifted_features(
            store, pipeline, env.camera_names, config.augmentation, wanted, modality
        )
        pipeline.save(run_dir / PIPELINE_FILE)
    dataset = CachedFeatureDataset.from_store(
        store,
        features,
        dict.fromkeys(features, pipeline.grid),
        pipeline.fingerprint,
        wanted,
        shifted,
        config.augmentation,
    )
    return PreparedDemonstrations(store, wanted, pipeline, dataset)


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
            **checkpoint_provenance(config, pipeline, dataset),
            **(provenance or {}),
        },
        event_dir=run_dir / "events",
        progress=lambda step, _, loss: progress(step, f"loss {loss:.4f}"),
    )


def checkpoint_provenance(
    config: TrainBCConfig, pipeline: FeaturePipeline, dataset: CachedFeatureDataset
) -> dict[str, Any]:
    """What a policy's checkpoint says of its training, for ``save_policy``.

    Args:
        config: of the run.
        pipeline: makes the features.
        dataset: of the demonstrations.
    """
    return {
        "environment": config.env,
        "encoder": pipeline.encoder.name,
        "encoder_config": stored_config("encoder", config.encoder),
        "encoder_fingerprint": pipeline.fingerprint,
        "dataset_fingerprint": dataset.fingerprint,
        "versions": package_versions(),
    }


def _select(
    config: TrainBCConfig,
    env: EnvironmentConfig,
    run_dir: Path,
    trained: TrainResult,
    pipeline: FeaturePipeline,
    device: torch.device,
) -> tuple[list[dict[str, int]], PolicyCheckpoint]:
    """Rolls out checkpoints as the protocol says, and chooses one.

    Returns:
        The rollouts of the checkpoints, and the chosen one.
    """
    protocol = config.protocol
    selection_file = run_dir / "selection.json"
    selection: list[dict[str, int]] = (
        json.loads(selection_file.read_text()) if selection_file.is_file() else []
    )
    if protocol.selection_episodes and len(selection) < len(trained.checkpoints):
        cameras = pipeline.streams(env.camera_names)
        with make_pool(env, pipeline.source, config.workers, config.environments) as pool:
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
    chosen = protocol.choose(trained.checkpoints, [entry["successes"] for entry in selection])
    return selection, trained.checkpoints[chosen]


@dataclass(frozen=True)
class FinalEvaluation:
    """What a run's policy did on its final episodes.

    Attributes:
        episodes: under the look of the training.
        further: the same episodes under each further look of the protocol.
        videos: films, relative to the run's folder.
    """

    episodes: EvaluationResult
    further: dict[str, EvaluationResult]
    videos: list[str]


def evaluate_finally(
    config: TrainBCConfig,
    env: EnvironmentConfig,
    environment: EnvironmentDescription,
    run_dir: Path,
    policy: Predictor,
    digests: Sequence[str],
    pipeline: FeaturePipeline,
) -> FinalEvaluation:
    """Meet fresh episodes, film some of them, and write a row of outcomes for each.

    Episodes that an evaluation has finished before it was stopped are not run again.

    Args:
        config: of the run.
        env: of the training.
        environment: what it says of itself.
        run_dir: the run's folder.
        policy: what acts.
        digests: of everything that the policy's actions depend on beside what it sees.
        pipeline: makes the features that it sees.
    """
    split: Split = "tuning" if config.evaluation_split == "tuning" else "final"
    seeds = episode_seeds(split, config.seed, config.protocol.final_episodes)
    cameras = pipeline.streams(env.camera_names)
    films = FilmCollector(environment, config.videos)
    looks = {environment.visual: env} | _further_environments(env, config.protocol)
    results = {}
    for look, look_env in looks.items():
        trained = look_env is env
        log = EpisodeLog(run_dir / EPISODES_FILE, _evaluation_name(look_env, pipeline, digests))
        with make_pool(look_env, pipeline.source, config.workers, config.environments) as pool:
            results[look] = evaluate(
                policy,
                pipeline,
                cameras,
                pool,
                seeds,
                film=films.request(seeds) if trained else None,
                finished=log,
                progress=_rollout_progress(
                    "evaluate" if trained else f"evaluate, {look}", len(seeds)
                ),
            )
    videos = films.write(run_dir / "videos")
    outcomes = [
        outcome
        for look, result in results.items()
        for outcome in outcomes_of(
            result.episodes,
            environment=environment.name,
            task=environment.task,
            look=look,
            resets=environment.randomization,
            run_seed=config.seed,
            filmed=films.seeds if look == environment.visual else (),
        )
    ]
    write_outcomes(run_dir / OUTCOMES_FILE, outcomes)
    final = results.pop(environment.visual)
    return FinalEvaluation(final, results, [str(path.relative_to(run_dir)) for path in videos])


def run_results(
    config: TrainBCConfig,
    env: EnvironmentConfig,
    environment: EnvironmentDescription,
    prepared: PreparedDemonstrations,
    final: FinalEvaluation,
    *,
    policy: str,
    selection: list[dict[str, int]],
    chosen: int,
    timings_s: dict[str, float],
    reinforcement: dict[str, Any] | None = None,
) -> RunResults:
    """The results of a run that has met its final episodes.

    Args:
        config: of the run.
        env: of the training.
        environment: what it says of itself.
        prepared: what was learned from.
        final: the final episodes.
        policy: what tables call it.
        selection: the rollouts of checkpoints.
        chosen: step of the checkpoint that was evaluated finally.
        timings_s: seconds of each stage.
        reinforcement: what reinforcement learning did; None for a cloned policy.
    """
    demonstrations = prepared.to_json()
    looks = [env, *_further_environments(env, config.protocol).values()]
    totals = success_summary(len(final.episodes.episodes), final.episodes.successes)
    totals |= {"split": config.evaluation_split, "outcomes": OUTCOMES_FILE}
    if final.further:
        totals[FURTHER_LOOKS] = {
            look: success_summary(len(result.episodes), result.successes)
            for look, result in final.further.items()
        }
    maximum = None
    if config.protocol.report_maximum and reinforcement is None:
        maximum = max(entry["successes"] / entry["episodes"] for entry in selection)
    return RunResults(
        env=env.name,
        environment={
            **config.env,
            **env.presets,
            "horizon": environment.horizon,
            "model_hash": environment.model_hash,
            "preset_hashes": _preset_hashes(looks),
        },
        encoder={
            "name": prepared.pipeline.encoder.name,
            "fingerprint": prepared.pipeline.fingerprint,
        },
        policy=policy,
        protocol=config.protocol.name,
        seed=config.seed,
        demos=demonstrations,
        checkpoints=selection,
        best_checkpoint=chosen,
        final=totals,
        timings_s=timings_s,
        videos=final.videos,
        r3m_success_rate=maximum,
        protocol_hash=protocol_hash(config.protocol, demonstrations, config.evaluation_split),
        reinforcement=reinforcement,
    )


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


def checkpoint_digests(folder: Path) -> list[str]:
    """SHA-256 of each file of a checkpoint, in the order of their names."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def _evaluation_name(
    env: EnvironmentConfig, pipeline: FeaturePipeline, digests: Sequence[str]
) -> str:
    """A short name for all that decides the outcome of an episode beside its seed."""
    record = environment_record(env)
    return hash_parts(record, pipeline.fingerprint, list(digests), package_versions())


def _drawing_progress(name: str, steps: int) -> Callable[[int], None]:
    progress = Progress("draw", steps)
    return lambda done: progress(done, name)
