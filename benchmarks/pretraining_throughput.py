"""What a training step costs in the real loop, beside its bare forward and backward pass.

    python benchmarks/pretraining_throughput.py [--model egodtm_tiny] [--batch-size 32]

In turns, so that both meet the same machine:

- ours: ``pretrain.learning.trainer.Trainer`` with worker processes that read a clip store, crop and
  color clips, with clipping, AdamW, curves and guards;
- bare: forward and backward pass of the same modules on one batch in memory, nothing else.

Prints clips a second of both, the step rate of ours over bare (to be at least 0.9) and the share of
time in which ours waited for clips (to be below 10 %). Processor time is printed beside wall time:
on a machine that has other work to do it is the figure to trust.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from egodtm_robot.core.configuration import compose
from pretrain.clips.clip import Boxes, Clip
from pretrain.clips.dataset import ClipDataset, Draw, SampleSpec
from pretrain.clips.store import ClipStore, ClipStoreWriter
from pretrain.learning.accelerator import make_accelerator
from pretrain.learning.configuration import PretrainConfig
from pretrain.learning.trainer import Trainer
from pretrain.losses.objective import depth_size, freeze_unused, objective_losses
from pretrain.model import EgoDTM

CLIPS = 256
OTHER_VERBS = ("puts down", "opens", "pushes", "turns")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="egodtm_tiny")
    parser.add_argument("--objective", default="text_depth")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12, help="steps a turn")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    config = compose(
        PretrainConfig,
        "pretrain",
        [
            f"model={arguments.model}",
            f"objective={arguments.objective}",
            f"training.batch_size={arguments.batch_size}",
            "training.image_share=0",
            "training.save_every=1000000",
            "training.validate_every=1000000",
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(Path(folder) / "clips", config)
        rates: dict[str, list[float]] = {"ours": [], "bare": []}
        processor: dict[str, list[float]] = {"ours": [], "bare": []}
        waits = []
        for turn in range(arguments.turns):
            rate, spent, wait = ours(config, dataset, Path(folder) / str(turn), arguments.steps)
            rates["ours"].append(rate)
            processor["ours"].append(spent)
            waits.append(wait)
            rate, spent = bare(config, dataset, arguments.steps)
            rates["bare"].append(rate)
            processor["bare"].append(spent)
    print(
        f"{config.model.name}, objective {config.objective.name}, batch "
        f"{config.training.batch_size}, {torch.get_num_threads()} threads"
    )
    for name in rates:
        print(
            f"{name:<5} {np.median(rates[name]):7.2f} clips/s, "
            f"{np.median(processor[name]) * 1e3:7.1f} ms of processor a clip"
        )
    ratio = np.median(np.array(rates["ours"]) / np.array(rates["bare"]))
    print(f"ours runs at {ratio:.2f} of the bare rate (wanted: at least 0.9)")
    print(f"loader wait {np.median(waits):.1%} (wanted: below 10 %)")


def make_dataset(path: Path, config: PretrainConfig) -> ClipDataset:
    """Noise in the shape of real clips, on disk."""
    generator = np.random.default_rng(0)
    side, frames = config.model.vision.image_size, config.model.vision.frames
    rows, columns = depth_size(config.model, side)
    with ClipStoreWriter.create(path) as writer:
        for start in range(0, CLIPS, 32):
            writer.append(
                [
                    Clip(
                        frames=generator.integers(0, 256, (frames, side, side, 3), np.uint8),
                        depth=generator.uniform(0.3, 3, (frames, rows, columns)).astype(np.float32),
                        depth_kind="metric",
                        masks=None,
                        boxes=Boxes(
                            np.arange(frames, dtype=np.int16),
                            np.zeros(frames, np.int16),
                            ["hand"] * frames,
                            np.ones(frames, np.int8),
                            np.ones(frames, bool),
                            np.tile(np.array([[0.2, 0.2, 0.6, 0.6]], np.float32), (frames, 1)),
                        ),
                        camera_pose=None,
                        narration=f"#C C picks up thing {start + number}",
                        caption=caption("picks up", start + number),
                        distractors=tuple(caption(verb, start + number) for verb in OTHER_VERBS),
                        key=str(start + number),
                        scene="noise",
                        source="noise",
                        licence="CC0-1.0",
                    )
                    for number in range(32)
                ]
            )
    spec = SampleSpec(
        side,
        (rows, columns) if config.objective.depth else None,
        config.objective.region > 0,
        config.objective.texts,
        config.objective.negatives,
    )
    return ClipDataset(ClipStore.open(path), spec, config.data.augmentation)


def caption(verb: str, number: int) -> str:
    """A caption of the usual length."""
    return (
        f"#C C {verb} thing {number} with the right hand from the left side of the counter and "
        "lifts it towards the cupboard"
    )


def ours(
    config: PretrainConfig, dataset: ClipDataset, out: Path, steps: int
) -> tuple[float, float, float]:
    """Clips a second, seconds of this process's processors a clip, and share of loader wait."""
    trainer = Trainer(
        config.training,
        config.objective,
        EgoDTM(config.model, seed=0),
        dataset,
        out,
        steps=steps,
        seed=0,
        accelerator=make_accelerator(config.training, config.device),
        provenance={},
        validate=lambda model, step: {"score": 0.0},
    )
    began = time.process_time()
    result = trainer.run()
    spent = (time.process_time() - began) / (steps * config.training.batch_size)
    return result.clips_per_s, spent, result.loader_wait_fraction


def bare(config: PretrainConfig, dataset: ClipDataset, steps: int) -> tuple[float, float]:
    """Clips a second and seconds of processor a clip of forward and backward passes alone."""
    accelerator = make_accelerator(config.training, config.device)
    model = EgoDTM(config.model, seed=0)
    freeze_unused(model, config.objective)
    model = accelerator.prepare(model)
    size = config.training.batch_size
    batch = dataset.batch([Draw(place % CLIPS, place) for place in range(size)])
    batch = batch.to(accelerator.device)
    for step in range(steps):
        if step == 1:
            began, processor = time.perf_counter(), time.process_time()
        losses = objective_losses(model, batch, config.objective, config.model)
        accelerator.backward(losses["total"])
        model.zero_grad(set_to_none=True)
    if accelerator.device.type == "cuda":
        torch.cuda.synchronize()
    clips = (steps - 1) * size
    return clips / (time.perf_counter() - began), (time.process_time() - processor) / clips


if __name__ == "__main__":
    main()
