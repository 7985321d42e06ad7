"""What a loader does to the same model's scores, as Markdown.

    python benchmarks/loaders.py STORE [--frames 4] [--presets a,b] [--checkpoint egodtm_tiny]
        [--depth STORE] [--alignment scale_and_shift] [--presets-only]

Every preset of ``configs/loader`` and single settings are set beside a reference: ``default`` with
so many frames. Keep many frames of each clip, such as 32 (``pretrain.generate
synthetic.frames=32``, ``pretrain.prepare decoding.frames=32``). Differences are paired over videos.
Of clips without classes only the embeddings are compared: their cosine with those of the reference,
and how many clips are nearest to their own embedding among the reference's. ``--depth`` names a
store with depth for heads to be fitted on, and scores depth through them and through the decoder.
"""

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.configuration.instantiation import group_names
from egodtm_robot.core.errors import EgoDTMRobotError
from pretrain.clips.actions import action_of
from pretrain.clips.splits import HeldOutConfig
from pretrain.clips.store import ClipStore
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.comparison import EvaluationMismatchError, compare_evaluations
from pretrain.evaluate.depth_metrics import ALIGNMENTS
from pretrain.evaluate.depth_probe import BLIND, DepthProbe, Head
from pretrain.evaluate.egodtm import load_egodtm
from pretrain.evaluate.evaluation import EvaluateConfig, evaluate
from pretrain.evaluate.finished import read_evaluation
from pretrain.evaluate.loader import LoaderConfig

NUMBERS = {"multi_instance": ("map", "ndcg"), "egomcq": ("intra",), "zero_shot": ("top1",)}
"""What is compared of clips with classes, by task."""

DEPTH = tuple(f"{one}/{m}" for one in (*get_args(Head), BLIND) for m in ("delta1", "absrel"))
"""What is compared of clips with depth. What is seen without looking shows how hard the frames and
the parts are that a loader chooses."""

SINGLE: dict[str, dict[str, Any]] = {
    "captions": {"text": "caption"},
    "narrations": {"text": "narration"},
    "without tags": {"tags": "drop"},
    "tags named": {"tags": "name"},
    "lower case": {"lower_case": True},
    "template `a video of {}`": {"template": "a video of {}"},
    "dual softmax": {"similarity": "dual_softmax"},
    "dual softmax, temperature 0.05": {"similarity": "dual_softmax", "temperature": 0.05},
    "1 frame, the middle": {"frames": 1, "choice": "center"},
    "neighbors around the middle": {"choice": "center"},
    "the first frames": {"choice": "windows"},
    "drawn from each segment": {"choice": "random"},
    "whole picture made square": {"crop": "squash"},
    "three squares": {"crop": "three"},
    "square of 7/8": {"crop_share": 0.875},
    "five squares of 7/8": {"crop": "five", "crop_share": 0.875},
    "bilinear, not antialiased": {"resampling": "bilinear"},
    "by way of 64 pixels": {"side": 64},
    "8 frames": {"frames": 8},
}
"""Settings beside those of the reference, in words."""


def loaders(frames: int, presets: list[str]) -> dict[str, LoaderConfig]:
    """The reference, and what is set beside it, by name."""
    reference = LoaderConfig(frames=frames)
    found = {"reference": reference}
    for name in presets:
        found[f"`{name}`"] = compose(EvaluateConfig, "evaluate", [f"loader={name}"]).loader
    for words, settings in SINGLE.items():
        changed = {**settings, "name": words}
        found[words] = dataclasses.replace(reference, **changed)
    return found


def scores(
    store: Path, checkpoint: str, tasks: list[Any], work: Path, loader: LoaderConfig, number: int
) -> tuple[Any, dict[str, Any]]:
    """A finished evaluation under a loader, and its numbers."""
    config = EvaluateConfig(
        checkpoint=checkpoint,
        tasks=tasks,
        data=HeldOutConfig(path=str(store), clips=None),
        loader=loader,
        cache=str(work / "embeddings"),
        device="cpu",
        run_dir=str(work / "runs" / f"{number:02d}"),
    )
    results, run_dir = evaluate(config)
    return read_evaluation(run_dir), results.tasks


def _value(estimate: dict[str, Any]) -> str:
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    interval = "" if low is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f}{interval}"


def _cell(difference: Any) -> str:
    low, high = difference.interval
    if math.isnan(low):
        return f"{100 * difference.value:+.1f}"
    return f"{100 * difference.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--checkpoint", default="egodtm_tiny")
    parser.add_argument("--presets", default=",".join(group_names("loader")))
    parser.add_argument("--presets-only", action="store_true")
    parser.add_argument("--depth", type=Path)
    parser.add_argument("--alignment", choices=list(ALIGNMENTS), default="scale_and_shift")
    parser.add_argument("--work", type=Path, default=Path("runs/loaders"))
    arguments = parser.parse_args()
    model = load_egodtm(arguments.checkpoint)
    store = ClipStore.open(arguments.store)
    (extra,) = store.read([0], ["extra"])["extra"]
    numbers: dict[str, tuple[str, ...]] = {} if action_of(extra) is None else dict(NUMBERS)
    tasks: list[Any] = list(numbers)
    if arguments.depth is not None:
        probe = f"{DepthProbe.__module__}.{DepthProbe.__qualname__}"
        training, alignment = str(arguments.depth), arguments.alignment
        tasks.append({"_target_": probe, "training": training, "alignment": alignment})
        # The decoder knows no unit.
        able = [n for n in DEPTH if alignment != "none" or not n.startswith("decoder")]
        numbers[DepthProbe.name] = tuple(able)
    head = ["loader", *(f"{task} {name}" for task, names in numbers.items() for name in names)]
    head += ["cosine", "finds itself, %"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    chosen = [name for name in arguments.presets.split(",") if name not in ("", "default")]
    listed = loaders(arguments.frames, chosen)
    if arguments.presets_only:
        listed = {name: one for name, one in listed.items() if name not in SINGLE}
    seen = listed["reference"].video_settings
    reference: Any = None
    usual: np.ndarray | None = None
    for number, (name, loader) in enumerate(listed.items()):
        if usual is not None and not set(numbers) & set(NUMBERS) and loader.video_settings == seen:
            continue  # words alone differ, and nothing here reads them
        cells = [name]
        try:
            data = EvaluationClips(
                store,
                resolution=model.resolution,
                frames=model.frames,
                loader=loader,
                cache=arguments.work / "embeddings",
            )
            embedded = data.embed_videos(model, range(len(data)))
            if tasks:
                found, scored = scores(
                    arguments.store, arguments.checkpoint, tasks, arguments.work, loader, number
                )
        except EgoDTMRobotError as error:
            print(f"{name}: {error}")
            continue
        if usual is None:
            usual = embedded
        if tasks and reference is None:
            reference = found
            for task, names in numbers.items():
                cells += [_value(scored[task]["numbers"][n]) for n in names]
        elif tasks:
            for task, names in numbers.items():
                try:
                    compared = compare_evaluations(
                        [found, reference], tasks=[task], all_numbers=True
                    )
                except EvaluationMismatchError:
                    cells += ["other questions"] * len(names)
                    continue
                differences = {one.number: one.difference for one in compared.differences}
                cells += [_cell(differences[n]) for n in names]
        similarity = embedded.astype(np.float64) @ usual.astype(np.float64).T
        own = similarity.argmax(axis=1) == np.arange(len(similarity))
        cells += [f"{np.diag(similarity).mean():.3f}", f"{100 * own.mean():.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    _main()
