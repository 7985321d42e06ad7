"""What a linear map can read from frozen features of demonstrations: where the handle is.

    python benchmarks/feature_probe.py STORE [--encoders efficientnet_lite0 egodtm,layer=2 ...]
        [--checkpoints NAME=PATH,output=patches ...] [--components 256]
        [--reference efficientnet_lite0] [--fitted 25] [--unseen STORE]

Success rates differ by 20 points between policy seeds; this does not act, and tells encoders apart
with an hour's fewer rollouts. STORE holds demonstrations of ``python -m egodtm_robot.train_bc``.
For every step the simulator says where the handle of the task is in the frame of the first camera:
what the hand has to be led by, and what changes with every step and every reset. Ridge regression
from the reduced features, or with --components 256 from their leading principal components, which
are all that a policy sees by default (policies/pooling.py), to these meters, on five folds of whole
episodes; the strength of the ridge is chosen inside the training episodes. Prints the mean error in
millimeters with a 95 % bootstrap interval over episodes, its difference to --reference on the same
episodes, and the share of the variance that is explained across (x), up (y) and along the view (z).
With --fitted 25 the map is fitted on 25 episodes at a time, as in ``protocol=few``, and measured on
all others. With --unseen it is measured on the frames of another store instead, such as one that
was collected with ``env.visual=shifted``, and fitted on those of the first.
An encoder's options follow its name (``egodtm,layer=2,resolution=224,grid=7``), a checkpoint's its
path. ``egodtm_adapted`` sees the frames of the first 25 episodes, without their labels, also where
they are held out. A checkpoint is one of ``pretrain/run.py``; of several with one name the errors
are averaged.
"""

import argparse
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from egodtm_robot.demos import DemonstrationStore
from egodtm_robot.demos.compatibility import check_compatible
from egodtm_robot.demos.recorded import recorded_environment
from egodtm_robot.encoders import Encoder, make_encoder
from egodtm_robot.encoders.features import FeaturePipeline, embed_demonstrations
from envs.kitchen.config import KitchenConfig
from envs.kitchen.tasks import get_task
from envs.registry import make_environment
from policies.pooling import PoolingConfig, make_pooling
from policies.spec import FeatureShape

FOLDS, STRIDE = 5, 2
"""Neighboring steps look alike, so that every other one is enough to fit and to measure on."""
STRENGTHS = 10.0 ** np.arange(-5, 3)
"""Of the ridge, in units of the features' mean squared norm."""
RESAMPLES = 10_000
ADAPTED_EPISODES = 25
"""An encoder that learns from demonstrations sees so many of them, as in protocol=few."""


def handles_in_view(store: DemonstrationStore) -> np.ndarray:
    """Where the task's first handle is in the frame of the first camera, meters (N, 3).

    x points to the right of the image, y up and z from the scene to the camera, as in MuJoCo.
    """
    told = store.attributes
    cameras = [{"name": name, **store.camera_poses[name]} for name in told.cameras]
    config = recorded_environment(told, KitchenConfig(cameras=cameras))
    env = make_environment(config, modalities=())
    check_compatible(store, env.describe())
    site = get_task(told.task).handles[0]
    found = []
    for index in range(store.num_episodes):
        record = store.reset_record(index)
        for state in store.episode(index, ["simulator_state"])["simulator_state"]:
            env.restore(state, record)
            camera = env.data.camera(told.cameras[0])
            axes = camera.xmat.reshape(3, 3)
            found.append((env.data.site(site).xpos - camera.xpos) @ axes)
    env.close()
    return np.array(found)


def fit(features: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """Dual weights (N, K) of ridge regression on centered features (N, D) and targets (N, K)."""
    gram = features @ features.T
    # Features of nothing are all zero: then the mean is predicted.
    gram[np.diag_indices_from(gram)] += strength * np.trace(gram) / len(gram) + 1e-12
    return np.linalg.solve(gram, targets)


def predict(
    train: np.ndarray, targets: np.ndarray, test: np.ndarray, strengths: Iterable[float]
) -> list[np.ndarray]:
    """Predictions (M, K) of float64 features (M, D), a ridge of each strength."""
    middle, level = train.mean(axis=0), targets.mean(axis=0)
    centered = train - middle
    cross = (test - middle) @ centered.T
    return [cross @ fit(centered, targets - level, one) + level for one in strengths]


def pooled(tokens: np.ndarray, fitted: np.ndarray, components: int | None) -> np.ndarray:
    """Tokens (N, L, D) as one row each, by a policy's pooling if there are ``components``."""
    flat = tokens.reshape(len(tokens), -1)
    if components is None or flat.shape[1] <= components:
        return flat
    shape = FeatureShape(tokens=tokens.shape[1], dimension=tokens.shape[2])
    pooling = make_pooling(PoolingConfig(components=components), shape)
    pooling.fit(torch.from_numpy(tokens[fitted]))
    return pooling(torch.from_numpy(tokens)).numpy()


@dataclass
class Frames:
    """Every other step of a store: where the handle is (N, 3), and of which episode each is."""

    store: DemonstrationStore
    chosen: np.ndarray
    episode: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, store: DemonstrationStore) -> Self:
        """Those of a store."""
        chosen = np.arange(0, store.num_steps, STRIDE)
        episode = np.searchsorted(store.episode_offsets, chosen, side="right") - 1
        return cls(store, chosen, episode, handles_in_view(store)[chosen])

    def embed(self, encoder: Encoder) -> dict[str, np.ndarray]:
        """Their tokens (N, L, D) a stream."""
        cameras = self.store.attributes.cameras
        tokens = embed_demonstrations(self.store, encoder, cameras, progress=False)
        return {stream: array[self.chosen] for stream, array in tokens.items()}


def splits(episode: np.ndarray, fitted: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What a map is fitted on and measured on, bool (N,) each: folds, or few against the rest."""
    if fitted is None:
        for fold in range(FOLDS):
            yield episode % FOLDS != fold, episode % FOLDS == fold
        return
    for first in range(0, int(episode[-1]) + 2 - fitted, fitted):
        train = (episode >= first) & (episode < first + fitted)
        yield train, ~train


def held_out(
    encoder: Encoder,
    seen: Frames,
    unseen: Frames | None,
    components: int | None,
    fitted: int | None,
) -> np.ndarray:
    """Errors (K, N, 3) of K ridges, each where it saw nothing of an episode, NaN elsewhere.

    They are those of ``unseen`` if it is given.
    """
    own_tokens = seen.embed(encoder)
    judged, tokens = seen, own_tokens
    if unseen is not None:
        judged, tokens = unseen, unseen.embed(encoder)
    errors = []
    for train, test in splits(seen.episode, fitted):
        if unseen is not None:
            test = np.ones(len(unseen.episode), bool)
        pipeline = FeaturePipeline.fit(encoder, {name: t[train] for name, t in own_tokens.items()})
        known, asked = [], []
        for name, array in own_tokens.items():
            fit_on, to = pipeline.reduce(array[train]), pipeline.reduce(tokens[name][test])
            both = pooled(np.concatenate([fit_on, to]), np.arange(len(fit_on)), components)
            known.append(both[: len(fit_on)])
            asked.append(both[len(fit_on) :])
        features = np.concatenate(known, axis=1).astype(np.float64)
        further = np.concatenate(asked, axis=1).astype(np.float64)
        wanted, own = seen.targets[train], seen.episode[train]
        scale = wanted.std(axis=0) + 1e-9
        inner = own // FOLDS % 4 == 0
        strays = [
            (((one - wanted[inner]) / scale) ** 2).mean()
            for one in predict(features[~inner], wanted[~inner], features[inner], STRENGTHS)
        ]
        strength = STRENGTHS[int(np.argmin(strays))]
        (predicted,) = predict(features, wanted, further, [strength])
        error = np.full_like(judged.targets, np.nan)
        error[test] = predicted - judged.targets[test]
        errors.append(error)
    return np.array(errors)


def by_episode(errors: np.ndarray, episode: np.ndarray) -> np.ndarray:
    """Means of rows (N,) by episode."""
    return np.array([errors[episode == one].mean() for one in np.unique(episode)])


def interval(values: np.ndarray) -> str:
    """Mean of one value an episode, with its bootstrap interval."""
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return f"{values.mean():+7.1f} [{low:+.1f}, {high:+.1f}]"


def settings(chosen: Iterable[str]) -> dict[str, int | str]:
    """Options of an encoder from ``key=value``."""
    pairs = (one.split("=", 1) for one in chosen)
    return {key: int(value) if value.isdigit() else value for key, value in pairs}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument(
        "--encoders", nargs="*", default=["none", "pixels", "efficientnet_lite0", "egodtm"]
    )
    parser.add_argument("--checkpoints", nargs="*", default=[], metavar="NAME=PATH[,KEY=VALUE]")
    parser.add_argument("--reference", default="efficientnet_lite0")
    parser.add_argument("--components", type=int)
    parser.add_argument("--fitted", type=int)
    parser.add_argument("--unseen", metavar="STORE")
    options = parser.parse_args()
    rows = []
    for entry in options.encoders:
        name, *chosen = entry.split(",")
        rows.append((entry, make_encoder({"name": name, **settings(chosen)})))
    for entry in options.checkpoints:
        first, *chosen = entry.split(",")
        name, path = first.split("=", 1)
        told = {"name": "egodtm", "checkpoint": path, **settings(chosen)}
        rows.append((name, make_encoder(told)))
    with ExitStack() as stack:
        store = stack.enter_context(DemonstrationStore.open(options.store))
        cameras = store.attributes.cameras
        if options.fitted is not None and not 2 <= options.fitted <= store.num_episodes:
            parser.error(f"Expected --fitted from 2 to {store.num_episodes}, got {options.fitted}.")
        seen, unseen = Frames.of(store), None
        if options.unseen is not None:
            unseen = Frames.of(stack.enter_context(DemonstrationStore.open(options.unseen)))
        judged = unseen or seen
        found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for name, frozen in rows:
            episodes = min(ADAPTED_EPISODES, store.num_episodes)
            encoder = frozen.adapted_to(store, cameras, episodes, "rgb")
            error = held_out(encoder, seen, unseen, options.components, options.fitted)
            distance = 1e3 * np.nanmean(np.linalg.norm(error, axis=2), axis=0)
            explained = 1 - np.nanmean(error**2, axis=(0, 1)) / judged.targets.var(axis=0)
            found.setdefault(name, []).append((by_episode(distance, judged.episode), explained))
    errors = {name: np.mean([one for one, _ in parts], axis=0) for name, parts in found.items()}
    episodes, steps = judged.episode[-1] + 1, len(judged.chosen)
    print(f"{judged.store.path}: {episodes} episodes, {steps} steps, cameras {cameras}")
    spread = 1e3 * judged.targets.std(axis=0)
    print(f"the handle in view, standard deviation {spread.round(1)} mm")
    print("error, mm [95 %]; difference; variance explained in x, y and z, %")
    for name, parts in found.items():
        difference = errors[name] - errors[options.reference]
        share = 100 * np.mean([shares for _, shares in parts], axis=0)
        print(
            f"{name:20} {interval(errors[name])}  {interval(difference)}  "
            + ", ".join(f"{value:.1f}" for value in share),
            flush=True,
        )


if __name__ == "__main__":
    main()
