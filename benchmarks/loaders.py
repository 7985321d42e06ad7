"""What a loader does to the same model's scores, as Markdown.

    python benchmarks/loaders.py STORE [--frames 4] [--presets a,b] [--checkpoint egodtm_tiny]

Every preset of ``configs/loader`` and single settings are set beside a reference: ``default`` with
so many frames. Keep many frames of each clip, such as 32 (``pretrain.generate
synthetic.frames=32``, ``pretrain.prepare decoding.frames=32``). Differences are paired over videos.
Of clips without classes only the embeddings are compared: their cosine with those of the reference,
and how many clips are nearest to their own embedding among the reference's.
"""

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.configuration.instantiation import group_names
from egodtm_robot.core.errors import EgoDTMRobotError
from pretrain.clips.actions import action_of
from pretrain.clips.splits import HeldOutConfig
from pretrain.clips.store import ClipStore
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.comparison import EvaluationMismatchError, compare_evaluations
from pretrain.evaluate.egodtm import load_egodtm
from pretrain.evaluate.evaluation import EvaluateConfig, evaluate
from pretrain.evaluate.finished import read_evaluation
from pretrain.evaluate.loader import LoaderConfig

NUMBERS = {"multi_instance": ("map", "ndcg"), "egomcq": ("intra",), "zero_shot": ("top1",)}
"""What is compared, by task."""

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
    store: Path, checkpoint: str, work: Path, loader: LoaderConfig, number: int
) -> tuple[Any, dict[str, Any]]:
    """A finished evaluation under a loader, and its numbers."""
    config = EvaluateConfig(
        checkpoint=checkpoint,
        tasks=list(NUMBERS),
        data=HeldOutConfig(path=str(store), clips=None),
        loader=loader,
        cache=str(work / "embeddings"),
        device="cpu",
        run_dir=str(work / "runs" / f"{number:02d}"),
    )
    results, run_dir = evaluate(config)
    return read_evaluation(run_dir), results.tasks


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
    parser.add_argument("--work", type=Path, default=Path("runs/loaders"))
    arguments = parser.parse_args()
    model = load_egodtm(arguments.checkpoint)
    store = ClipStore.open(arguments.store)
    (extra,) = store.read([0], ["extra"])["extra"]
    scored = action_of(extra) is not None
    head = ["loader"]
    head += [f"{t} {n}" for t, numbers in NUMBERS.items() for n in numbers] if scored else []
    head += ["cosine", "finds itself, %"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    chosen = [name for name in arguments.presets.split(",") if name not in ("", "default")]
    reference: Any = None
    usual: np.ndarray | None = None
    for number, (name, loader) in enumerate(loaders(arguments.frames, chosen).items()):
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
            if scored:
                found, tasks = scores(
                    arguments.store, arguments.checkpoint, arguments.work, loader, number
                )
        except EgoDTMRobotError as error:
            print(f"{name}: {error}")
            continue
        if usual is None:
            usual = embedded
        if scored and reference is None:
            reference = found
            for task, numbers in NUMBERS.items():
                cells += [f"{100 * tasks[task]['numbers'][n]['value']:.1f}" for n in numbers]
        elif scored:
            for task, numbers in NUMBERS.items():
                try:
                    compared = compare_evaluations(
                        [found, reference], tasks=[task], all_numbers=True
                    )
                except EvaluationMismatchError:
                    cells += ["other questions"] * len(numbers)
                    continue
                differences = {one.number: one.difference for one in compared.differences}
                cells += [_cell(differences[n]) for n in numbers]
        similarity = embedded.astype(np.float64) @ usual.astype(np.float64).T
        own = similarity.argmax(axis=1) == np.arange(len(similarity))
        cells += [f"{np.diag(similarity).mean():.3f}", f"{100 * own.mean():.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    _main()
