"""Many environments behind one object, in this process or in worker processes.

A worker owns its environments (and their OpenGL contexts, which must not cross processes) and
writes observations into memory that it shares with the main process; only commands of a few bytes
travel through pipes. This module knows nothing of torch, so that workers start fast and stay small.
"""

import contextlib
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory
from types import TracebackType
from typing import Any, Self

import gymnasium
import numpy as np
from gymnasium import spaces

from egodtm_robot.core.errors import ConfigurationError, EnvironmentWorkerError
from egodtm_robot.core.processes.spawn import how_it_ended, spawn
from envs.options import EnvironmentConfig
from envs.registry import make_environment

EnvironmentFactory = Callable[[], gymnasium.Env[Any, Any]]
Layout = dict[str, tuple[tuple[int, ...], str]]

_ALIGNMENT = 64
_CLOSING_S = 5.0


@dataclass(frozen=True)
class Reset:
    """Begin an episode in a slot.

    Attributes:
        slot: index of the environment in the pool.
        seed: of the episode.
        film: whether to call the environment's ``render`` after this reset and each step of the
            episode.
    """

    slot: int
    seed: int
    film: bool = False


@dataclass(frozen=True)
class Step:
    """Take a step with the action in ``pool.actions[slot]``."""

    slot: int


@dataclass(frozen=True)
class Report:
    """What a command led to; the observation is in ``pool.observations`` by then.

    Attributes:
        slot: index of the environment in the pool.
        done: whether the episode is over.
        truncated: whether it is over because of its horizon alone; what follows has a value then.
        solved: whether the task is solved in this state.
        success: whether the episode counts as a success.
        progress: how far this state is on the way to the goal, in [0, 1]; None where the
            environment does not say.
        frame: uint8 (H, W, 3) as the environment renders itself, None without a film.
    """

    slot: int
    done: bool
    truncated: bool
    solved: bool
    success: bool
    progress: float | None
    frame: np.ndarray | None


class EnvironmentPool:
    """``slots`` environments that are reset and stepped by commands.

    Use it as a context manager: workers are ended whatever happens inside. One pool serves any
    number of evaluations, since building environments takes longer than many steps.

    Args:
        factory: builds one environment; picklable if there are workers, for example
            ``functools.partial(make_environment, config)``. Its observation is a dictionary, of
            dictionaries perhaps; its info has ``solved`` and ``success``.
        workers: processes to run the environments in; 0 or 1 keeps them in this one.
        environments: how many a process.
        timeout_s: silence of all workers that counts as a failure, seconds. Building the
            environments counts as silence.

    Attributes:
        observations: a view a leaf of the observation, (slots, ...), with nested keys joined by
            ``/`` as in ``rgb/left``. A slot's row is valid from its report to its next command.
        actions: float32 (slots, A), to be filled before :class:`Step` is submitted.

    Raises:
        ConfigurationError: the numbers are out of range.
        EnvironmentWorkerError: a worker failed while it built its environments.

    Example:
        >>> with EnvironmentPool(make_environment, workers=2, environments=4) as pool:
        ...     pool.submit([Reset(slot, seed=slot) for slot in range(pool.slots)])
        ...     reports = pool.wait()
    """

    observations: dict[str, np.ndarray]
    actions: np.ndarray

    def __init__(
        self,
        factory: EnvironmentFactory,
        workers: int = 0,
        environments: int = 1,
        timeout_s: float = 300.0,
    ) -> None:
        if workers < 0 or environments < 1:
            raise ConfigurationError(
                f"Expected workers >= 0 and environments >= 1, got {workers} and {environments}."
            )
        self.environments = environments
        self.slots = max(workers, 1) * environments
        self.timeout_s = timeout_s
        self._outstanding = 0
        self._here: _Environments | None = None
        self._done_here: deque[Report] = deque()
        self._workers: list[_Worker] = []
        self._memory: SharedMemory | None = None
        try:
            if workers <= 1:
                self._here = _Environments(factory, environments)
                layout = self._here.layout
                self._place(layout, memoryview(bytearray(_nbytes(layout, self.slots))))
                self._here.attach(self.observations, self.actions, 0)
            else:
                self._start_workers(factory, workers)
        except BaseException:
            self.close()
            raise

    def _start_workers(self, factory: EnvironmentFactory, workers: int) -> None:
        for index in range(workers):
            ours, theirs = Pipe()
            arguments = (theirs, factory, index * self.environments, self.environments)
            # One thread each: the software renderer would take all of the machine.
            process = spawn(_work, arguments, f"environments-{index}", threads=1)
            theirs.close()
            self._workers.append(_Worker(index, process, ours))
        layouts = [self._receive(worker) for worker in self._workers]
        layout = layouts[0]
        if any(other != layout for other in layouts):
            raise EnvironmentWorkerError("The workers' environments differ in their observations.")
        self._memory = SharedMemory(create=True, size=_nbytes(layout, self.slots))
        self._place(layout, _buffer(self._memory))
        for worker in self._workers:
            worker.connection.send((self._memory.name, layout, self.slots))
        for worker in self._workers:
            self._receive(worker)

    def _place(self, layout: Layout, buffer: memoryview) -> None:
        arrays = _views(layout, buffer, self.slots)
        self.actions = arrays.pop("actions")
        self.observations = arrays

    @property
    def slot_order(self) -> list[int]:
        """All slots, the workers taking turns, so that a few episodes occupy all workers."""
        return sorted(range(self.slots), key=lambda slot: (slot % self.environments, slot))

    # -- commands ------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """Commands submitted whose reports :meth:`wait` has not returned yet."""
        return self._outstanding

    def submit(self, commands: Sequence[Reset | Step]) -> None:
        """Hand commands to the environments; at most one a slot until its report came.

        Raises:
            EnvironmentWorkerError: a worker is gone.
        """
        if self._here is not None:
            reports = self._here.run(commands)
            self._done_here.extend(reports)
            self._outstanding += len(reports)
            return
        if not self._workers:
            raise EnvironmentWorkerError("The pool of environments is closed; make a new one.")
        self._outstanding += len(commands)
        for worker in self._workers:
            first = worker.index * self.environments
            own = [c for c in commands if first <= c.slot < first + self.environments]
            if own:
                try:
                    worker.connection.send(own)
                except OSError as error:
                    self._raise_death(worker, error)

    def wait(self) -> list[Report]:
        """Reports of at least one outstanding command, as soon as there are any.

        Raises:
            EnvironmentWorkerError: a worker raised, died, or all were silent for ``timeout_s``.
        """
        if self._outstanding == 0:
            return []
        reports: list[Report] = []
        if self._here is not None:
            reports.extend(self._done_here)
            self._done_here.clear()
        else:
            connections = {worker.connection: worker for worker in self._workers}
            # A dead worker's end of its pipe is closed, which makes its connection ready too.
            ready = wait(list(connections), timeout=self.timeout_s)
            if not ready:
                self._raise_silence()
            for connection in ready:
                assert isinstance(connection, Connection)
                reports.extend(self._receive(connections[connection]))
        self._outstanding -= len(reports)
        return reports

    def abandon(self) -> None:
        """Forget the outstanding commands once they are done, so that the pool is free again."""
        while self._outstanding:
            self.wait()

    def _receive(self, worker: "_Worker") -> Any:
        if not worker.connection.poll(self.timeout_s):
            self._raise_silence()
        try:
            succeeded, answer = worker.connection.recv()
        except (EOFError, OSError) as error:
            self._raise_death(worker, error)
        if not succeeded:
            raise EnvironmentWorkerError(
                f"Environment worker {worker.index} raised:\n{answer.rstrip()}"
            )
        return answer

    def _raise_death(self, worker: "_Worker", cause: BaseException) -> None:
        worker.process.join(_CLOSING_S)
        how = how_it_ended(worker.process.exitcode)
        raise EnvironmentWorkerError(
            f"Environment worker {worker.index} {how} without an answer. SIGKILL is "
            "mostly the kernel short of memory: use fewer workers or environments. An exit code "
            "on start is mostly a script that builds the pool outside `if __name__ == "
            "'__main__':`."
        ) from cause

    def _raise_silence(self) -> None:
        for worker in self._workers:
            worker.process.kill()  # what hangs would not answer a request to end either
        raise EnvironmentWorkerError(
            f"Expected an answer from an environment worker within {self.timeout_s:.0f} s, none "
            "came. A simulator or an OpenGL driver hangs; use workers=0 to look at it."
        )

    # -- end -----------------------------------------------------------------------------------

    def close(self) -> None:
        """End the workers and free the memory; more calls do nothing."""
        for worker in self._workers:
            with contextlib.suppress(OSError):  # it may be gone already
                worker.connection.send(None)
        deadline = time.monotonic() + _CLOSING_S
        for worker in self._workers:
            worker.process.join(max(deadline - time.monotonic(), 0.1))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()
        self._workers = []
        if self._here is not None:
            self._here.close()
            self._here = None
        self.observations = {}
        self.actions = np.zeros((0, 0), np.float32)
        if self._memory is not None:
            self._memory.unlink()
            with contextlib.suppress(BufferError):  # a caller's view keeps it until it goes too
                self._memory.close()
            self._memory = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def make_pool(
    env: EnvironmentConfig, source: str, workers: int, environments: int
) -> EnvironmentPool:
    """Environments for rollouts, which draw images only where they are read.

    Args:
        env: of each environment.
        source: what the encoder reads, see :class:`egodtm_robot.encoders.base.Encoder`.
        workers: see :class:`EnvironmentPool`, also for the next.
        environments: how many a process.
    """
    modalities = ("rgb",) if source == "rgb" else ()
    factory = partial(make_environment, env, modalities=modalities, render_mode="rgb_array")
    return EnvironmentPool(factory, workers=workers, environments=environments)


@dataclass(frozen=True)
class _Worker:
    index: int
    process: BaseProcess
    connection: Connection


class _Environments:
    """The environments of one process, writing into rows ``first`` and following."""

    def __init__(self, factory: EnvironmentFactory, count: int) -> None:
        self._environments = [factory() for _ in range(count)]
        self._films = [False] * count
        self.layout = _layout(self._environments[0])

    def attach(
        self, observations: Mapping[str, np.ndarray], actions: np.ndarray, first: int
    ) -> None:
        self._observations = observations
        self._actions = actions
        self._first = first

    def run(self, commands: Sequence[Reset | Step]) -> list[Report]:
        return [self._run(command) for command in commands]

    def _run(self, command: Reset | Step) -> Report:
        index = command.slot - self._first
        environment = self._environments[index]
        terminated = truncated = False
        if isinstance(command, Reset):
            self._films[index] = command.film
            observation, info = environment.reset(seed=command.seed)
        else:
            # A copy: the row may be overwritten while an environment still holds its action.
            action = self._actions[command.slot].copy()
            observation, _, terminated, truncated, info = environment.step(action)
        for name, value in _leaves(observation):
            self._observations[name][command.slot] = value
        # A copy: an environment may draw into the same memory again.
        frame = np.array(environment.render()) if self._films[index] else None
        return Report(
            slot=command.slot,
            done=bool(terminated or truncated),
            truncated=bool(truncated and not terminated),
            solved=bool(info["solved"]),
            success=bool(info["success"]),
            progress=info.get("progress"),
            frame=frame,
        )

    def close(self) -> None:
        for environment in self._environments:
            environment.close()


def _work(connection: Connection, factory: EnvironmentFactory, first: int, count: int) -> None:
    """Main function of a worker process."""
    memory = None
    try:
        environments = _Environments(factory, count)
        connection.send((True, environments.layout))
        message = connection.recv()
        if message is None:
            return
        name, layout, slots = message
        memory = SharedMemory(name=name)
        arrays = _views(layout, _buffer(memory), slots)
        environments.attach(arrays, arrays.pop("actions"), first)
        connection.send((True, None))
        while (commands := connection.recv()) is not None:
            connection.send((True, environments.run(commands)))
        environments.close()
    except (EOFError, BrokenPipeError):
        pass  # the main process is gone
    except Exception:
        connection.send((False, traceback.format_exc()))
    finally:
        connection.close()


def _leaves(observation: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested keys joined by ``/``, with their values."""
    leaves = []
    for key, value in observation.items():
        if isinstance(value, Mapping):
            leaves += _leaves(value, f"{prefix}{key}/")
        else:
            leaves.append((prefix + key, value))
    return leaves


def _layout(environment: gymnasium.Env[Any, Any]) -> Layout:
    """Shape and type of the action and of each leaf of the observation."""

    def boxes(space: spaces.Space[Any], prefix: str) -> Layout:
        if isinstance(space, spaces.Dict):
            found: Layout = {}
            for key, child in space.spaces.items():
                found |= boxes(child, f"{prefix}{key}/")
            return found
        assert space.shape is not None
        assert space.dtype is not None
        return {prefix.rstrip("/"): (tuple(space.shape), np.dtype(space.dtype).str)}

    action = environment.action_space
    assert action.shape is not None
    return boxes(environment.observation_space, "") | {
        "actions": (tuple(action.shape), np.dtype(np.float32).str)
    }


def _buffer(memory: SharedMemory) -> memoryview:
    assert memory.buf is not None, "the shared memory is closed"
    return memory.buf


def _nbytes(layout: Layout, slots: int) -> int:
    return max(sum(_stride(slots, *entry) for entry in layout.values()), 1)


def _stride(slots: int, shape: tuple[int, ...], dtype: str) -> int:
    size = slots * int(np.prod(shape)) * np.dtype(dtype).itemsize
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _views(layout: Layout, buffer: memoryview, slots: int) -> dict[str, np.ndarray]:
    arrays = {}
    offset = 0
    for name, (shape, dtype) in layout.items():
        arrays[name] = np.ndarray((slots, *shape), dtype, buffer=buffer, offset=offset)
        offset += _stride(slots, shape, dtype)
    return arrays
