"""Where the time of a training step of a model goes.

    OMP_NUM_THREADS=1 python benchmarks/model_step.py [model.vision.width=256 ...]

Processor time of each part of a step of egodtm_tiny (4 frames, text and depth), the least of a few
steps: on a machine that has other work to do it is the figure to trust. The last line is the whole
step with torch's fused attention in place of plain products. Arguments are settings of the model,
without the leading ``model.`` too.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources

import torch
from omegaconf import OmegaConf

from egodtm_robot.core.configuration import from_yaml
from pretrain.losses import DepthLossConfig, contrastive_loss, depth_loss, depth_target, text_groups
from pretrain.model import EgoDTM, EgoDTMConfig, layers
from pretrain.model.tokenizer import tokenize

BATCH = 16
STEPS = 3
CAPTION = "#C C picks up the red mug from the counter on the left with the right hand, number {}"


def main() -> None:
    """Measure and print."""
    config = configuration([argument.removeprefix("model.") for argument in sys.argv[1:]])
    model = EgoDTM(config)
    side = config.vision.image_size
    frames = torch.randint(0, 256, (BATCH, config.vision.frames, side, side, 3), dtype=torch.uint8)
    tokens = tokenize([CAPTION.format(index) for index in range(BATCH)])
    fine = side // config.vision.patch_size * config.depth_decoder.upsampling
    target = depth_target(torch.rand(BATCH, config.vision.frames, 64, 64) + 0.5, (fine, fine))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    spent: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def measured(part: str) -> Iterator[None]:
        start = time.process_time()
        yield
        spent[part].append(time.process_time() - start)

    def step() -> None:
        with measured("whole step"):
            with measured("  video, forward"):
                video = model.encode_video(frames)
            with measured("  text, forward"):
                text = model.encode_text(tokens)
            with measured("  depth, forward"):
                depths = model.decode_depth(video.patch_tokens, video.grid).predictions
            with measured("  losses"):
                scale = model.logit_scale.exp()
                loss = contrastive_loss(video.embedding, text, scale, text_groups(tokens))
                loss = loss + depth_loss(depths, target, DepthLossConfig())
            with measured("  backward"):
                loss.backward()
            with measured("  optimiser"):
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

    for _ in range(STEPS):
        step()
    plain = {part: min(times) for part, times in spent.items()}
    spent.clear()
    layers._FEW_KEYS = 0
    for _ in range(STEPS):
        step()
    vision = sum(parameter.numel() for parameter in model.visual.parameters())
    print(f"{config.name}, video encoder {vision / 1e6:.2f} M, {torch.get_num_threads()} threads")
    for part, seconds in plain.items():
        print(f"{part:<18} {seconds / BATCH * 1e3:7.1f} ms a clip")
    print(f"{BATCH / plain['whole step']:.1f} clips a second of processor time")
    ratio = min(spent["whole step"]) / plain["whole step"]
    print(f"with fused attention the whole step takes {ratio:.2f} times as long")


def configuration(settings: list[str]) -> EgoDTMConfig:
    """egodtm_tiny with some settings changed."""
    text = (resources.files("configs") / "model" / "egodtm_tiny.yaml").read_text(encoding="utf-8")
    changed = OmegaConf.merge(OmegaConf.create(text), OmegaConf.from_dotlist(settings))
    return from_yaml(EgoDTMConfig, OmegaConf.to_yaml(changed))


if __name__ == "__main__":
    main()
