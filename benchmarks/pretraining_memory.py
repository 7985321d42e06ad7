"""Peak memory of a training step as the batch grows.

    python benchmarks/pretraining_memory.py [--model egodtm_base] [--batches 1,2,4,8] [--estimate]

Each batch runs in a process of its own: forward and backward pass with gradient checkpointing, text
and depth, in single precision, and an AdamW step; the peak of its resident memory is printed beside
what it took before the model was made. Without checkpointing with ``--plain``.

``--estimate`` computes nothing: tensors without content go through the same step and their sizes
are added up, which takes seconds. It does not see the allocator's and the kernels' own memory.
"""

import argparse
import resource
import subprocess
import sys
import time
from importlib import resources

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from egodtm_robot.core.configuration import from_yaml
from pretrain.losses import DepthLossConfig, DepthTarget, contrastive_loss, depth_loss
from pretrain.model import EgoDTM, EgoDTMConfig


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="egodtm_base")
    parser.add_argument("--batches", default="1,2,4,8")
    parser.add_argument("--plain", action="store_true", help="without gradient checkpointing")
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(one_batch(arguments.model, arguments.one, not arguments.plain, arguments.estimate))
        return
    saving = "without" if arguments.plain else "with"
    kind = "estimated" if arguments.estimate else "measured"
    print(f"{arguments.model}, {saving} gradient checkpointing, {kind}")
    for batch in arguments.batches.split(","):
        command = [sys.executable, __file__, *sys.argv[1:], "--one", batch]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


def one_batch(name: str, batch: int, checkpointing: bool, estimate: bool) -> str:
    """One step; a line of figures."""
    text = (resources.files("configs") / "model" / f"{name}.yaml").read_text(encoding="utf-8")
    config = from_yaml(EgoDTMConfig, text)
    config.gradient_checkpointing = checkpointing
    before = resident()
    start = time.perf_counter()
    if estimate:
        tracker = MemTracker()
        with FakeTensorMode(), tracker:
            model, optimizer = prepare(config, tracker)
            step(model, optimizer, batch)
        peak = sum(sizes["Total"] for sizes in tracker.get_tracker_snapshot("peak").values())
        return f"batch {batch}: {peak / 2**30:.2f} GiB\n"
    model, optimizer = prepare(config, None)
    step(model, optimizer, batch)
    spent = time.perf_counter() - start
    return (
        f"batch {batch}: peak {resident() / 2**30:.2f} GiB, of which {before / 2**30:.2f} before "
        f"the model was made; {spent:.0f} s\n"
    )


def prepare(
    config: EgoDTMConfig, tracker: MemTracker | None
) -> tuple[EgoDTM, torch.optim.Optimizer]:
    """A model without meaningful weights and its optimizer."""
    model = EgoDTM(config, seed=None)
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    if tracker is not None:
        tracker.track_external(model, optimizer)
    return model, optimizer


def step(model: EgoDTM, optimizer: torch.optim.Optimizer, batch: int) -> None:
    """What a step of text and depth computes, on clips without content."""
    vision = model.config.vision
    side, fine = vision.image_size, vision.image_size // vision.patch_size
    fine *= model.config.depth_decoder.upsampling
    frames = torch.zeros((batch, vision.frames, side, side, 3), dtype=torch.uint8)
    tokens = torch.zeros((batch, model.config.text.context), dtype=torch.int64)
    out = model(frames, tokens)
    assert out.text is not None
    assert out.depths is not None
    target = torch.zeros((batch, vision.frames, fine, fine))
    loss = contrastive_loss(out.video.embedding, out.text, out.logit_scale)
    loss = loss + depth_loss(
        out.depths,
        DepthTarget(target, torch.ones_like(target, dtype=torch.bool)),
        DepthLossConfig(),
    )
    loss.backward()
    optimizer.step()


def resident() -> int:
    """Peak resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
