"""The order of training: which clip comes when, by seed and place alone, and the loader."""

import functools
from collections.abc import Iterator

import numpy as np
from torch.utils.data import DataLoader, Sampler

from egodtm_robot.core.errors import ConfigurationError
from pretrain.clips.dataset import ClipDataset, Draw

# A stream of random numbers that never meets that of the samples, see pretrain/clips/dataset.py.
_ORDER = 0


class StreamSampler(Sampler[list[Draw]]):
    """Draws of each step's batch from ``start`` to ``stop``, of one process.

    Training walks through an endless stream in which every run of ``clips`` places is a permutation
    of all clips. Step s has the places s * batch_size to (s + 1) * batch_size; of them process r
    takes the r-th of ``processes`` equal parts.

    Args:
        clips: how many clips there are.
        seed: of the permutations.
        batch_size: clips of a step in all processes together.
        start: first step.
        stop: step behind the last.
        process: number of this process.
        processes: how many there are.
        image_steps: steps of the beginning whose samples are single frames.
        image_batch_size: samples of such a step in all processes together.
    """

    def __init__(
        self,
        clips: int,
        seed: int,
        batch_size: int,
        start: int,
        stop: int,
        process: int = 0,
        processes: int = 1,
        image_steps: int = 0,
        image_batch_size: int = 0,
    ) -> None:
        if batch_size % processes or image_batch_size % processes:
            raise ConfigurationError(
                f"Expected a batch_size that {processes} processes can share equally, got "
                f"{batch_size} and for images {image_batch_size}."
            )
        self.clips = clips
        self.seed = seed
        self.batch_size = batch_size
        self.start = start
        self.stop = stop
        self.process = process
        self.processes = processes
        self.image_steps = image_steps
        self.image_batch_size = image_batch_size

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.start, self.stop):
            images = min(step, self.image_steps) * self.image_batch_size
            single = step < self.image_steps
            share = (self.image_batch_size if single else self.batch_size) // self.processes
            first = images + max(0, step - self.image_steps) * self.batch_size
            first += self.process * share
            yield [
                Draw(clip_at(place, self.clips, self.seed), place, single)
                for place in range(first, first + share)
            ]


def clip_at(place: int, clips: int, seed: int) -> int:
    """The clip at a place of the stream of a seed."""
    return int(_permutation(place // clips, clips, seed)[place % clips])


@functools.lru_cache(maxsize=4)
def _permutation(epoch: int, clips: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(clips)


def training_loader(
    dataset: ClipDataset,
    sampler: StreamSampler,
    workers: int,
    pin_memory: bool = False,
) -> DataLoader:
    """Batches of the sampler's steps, made ahead by worker processes.

    Args:
        dataset: what to draw from.
        sampler: what to draw.
        workers: processes; 0 makes batches in this one.
        pin_memory: see :meth:`ClipBatch.pin_memory`.
    """
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=dataset.collate,
        pin_memory=pin_memory,
        # Forked workers would inherit locks and threads of torch in whatever state they are.
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=2 if workers else None,
    )
