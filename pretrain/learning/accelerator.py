"""The processes and the devices that a training runs on, through accelerate."""

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.training.precision import mixed_precision
from pretrain.learning.training_config import TrainingConfig


def make_accelerator(config: TrainingConfig, device: str = "auto") -> Accelerator:
    """The processes and the device that this run has, by what it was launched with.

    Args:
        config: for precision and threads.
        device: ``auto`` takes GPUs if there are any, ``cpu`` does not.

    Raises:
        ConfigurationError: neither of the two.
    """
    if device not in ("auto", "cpu"):
        raise ConfigurationError(
            f"Expected device=auto or cpu, got {device!r}; to choose among GPUs set "
            "CUDA_VISIBLE_DEVICES."
        )
    # Accelerate keeps one state a process and refuses another precision in a second run.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        cpu=device == "cpu" or not torch.cuda.is_available(),
        mixed_precision=mixed_precision(config.precision),
    )
    threads = config.threads
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        trainers = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        threads = max(1, available_cores() // trainers)
    if threads is not None:
        torch.set_num_threads(threads)
    return accelerator


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
