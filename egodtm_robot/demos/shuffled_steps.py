"""Random minibatches of a store that may be larger than memory."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from egodtm_robot.core.storage import CommittedArray
from egodtm_robot.demos.store import DemonstrationStore

MEMORY_BYTES = 512 * 1024 * 1024
"""Arrays that fit in so much memory together are kept there by ``ShuffledSteps``."""

WINDOW_BYTES = 256 * 1024 * 1024
"""What ``ShuffledSteps`` reads and shuffles at a time of the arrays that are not kept."""


class ShuffledSteps:
    """Steps of a store in random order, for training from the store itself.

    Arrays that fit are kept in memory from one pass to the next.

    Args:
        store: open in either mode.
    """

    def __init__(self, store: DemonstrationStore) -> None:
        self.store = store
        self._memory: dict[str, np.ndarray] = {}

    def batches(
        self,
        batch_size: int,
        generator: np.random.Generator,
        arrays: Sequence[str],
        indices: np.ndarray | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """One pass over steps in random order, every step once.

        Arrays are kept in memory, the smallest first, while they fit in MEMORY_BYTES together: they
        are read once, not once a pass. If all do, the steps are shuffled as a whole. Otherwise they
        are shuffled in windows: chunks are drawn in random order until WINDOW_BYTES of the large
        arrays are read, and their steps are shuffled together, while a thread reads the next
        window. The order depends on the generator and on the arrays asked for.

        Args:
            batch_size: steps of a batch; the last one may be smaller.
            generator: source of the order.
            arrays: which arrays.
            indices: only these steps; by default all.

        Yields:
            Arrays (batch_size, ...) by name, and "index", int64 (batch_size,), the steps.

        Raises:
            UnknownNameError: there is no such array.
            CorruptStoreError: stored bytes were changed.
        """
        sources = {name: self.store.array(name) for name in arrays}
        chosen = (
            np.arange(self.store.num_steps) if indices is None else np.asarray(indices, np.int64)
        )
        kept = self._keep_in_memory(sources)
        large = [array for name, array in sources.items() if name not in kept]
        windows = [chosen]
        if large and len(chosen):
            window_rows = max(1, WINDOW_BYTES // sum(array.spec.row_bytes for array in large))
            chunk_rows = max(array.spec.chunk_rows for array in large)
            windows = _windows(chosen, chunk_rows, window_rows, generator)
        order = [generator.permutation(len(window)) for window in windows]
        left: dict[str, np.ndarray] = {}
        for number, loaded in enumerate(_read_ahead(sources, kept, windows)):
            shuffled = {name: values[order[number]] for name, values in loaded.items()}
            if left:
                # Steps of the last window that did not fill a batch.
                shuffled = {n: np.concatenate([left[n], v]) for n, v in shuffled.items()}
            count = len(shuffled["index"])
            whole = count if number == len(windows) - 1 else count - count % batch_size
            for start in range(0, whole, batch_size):
                stop = min(start + batch_size, whole)
                batch = {name: values[start:stop] for name, values in shuffled.items()}
                yield batch | {n: values[batch["index"]] for n, values in kept.items()}
            left = {name: values[whole:] for name, values in shuffled.items()}

    def _keep_in_memory(self, sources: Mapping[str, CommittedArray]) -> dict[str, np.ndarray]:
        """The arrays of ``sources`` that are kept in memory, read if they were not yet."""
        kept = {}
        used = sum(values.nbytes for values in self._memory.values())
        for name, array in sorted(sources.items(), key=lambda item: item[1].nbytes):
            values = self._memory.get(name)
            if values is not None and len(values) != array.rows:
                # Episodes were appended since.
                used -= values.nbytes
                del self._memory[name]
                values = None
            if values is None and used + array.nbytes <= MEMORY_BYTES:
                used += array.nbytes
                values = self._memory[name] = array.read()
            if values is not None:
                kept[name] = values
        return kept


def _windows(
    chosen: np.ndarray, chunk_rows: int, window_rows: int, generator: np.random.Generator
) -> list[np.ndarray]:
    """Split steps into groups of whole chunks, drawn in random order."""
    chosen = np.sort(chosen)
    chunks = np.split(chosen, np.flatnonzero(np.diff(chosen // chunk_rows)) + 1)
    windows: list[np.ndarray] = []
    window: list[np.ndarray] = []
    for position in generator.permutation(len(chunks)):
        window.append(chunks[position])
        if sum(map(len, window)) >= window_rows:
            windows.append(np.concatenate(window))
            window = []
    return windows + ([np.concatenate(window)] if window else [])


def _read_ahead(
    sources: Mapping[str, CommittedArray],
    kept: Mapping[str, np.ndarray],
    windows: Sequence[np.ndarray],
) -> Iterator[dict[str, np.ndarray]]:
    """Rows of each window in turn; while one is used, the next is being read."""

    def load(window: np.ndarray) -> dict[str, np.ndarray]:
        rows = {name: array.take(window) for name, array in sources.items() if name not in kept}
        return rows | {"index": window}

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(load, windows[0])
        for window in windows[1:]:
            loaded, ahead = ahead.result(), reader.submit(load, window)
            yield loaded
        yield ahead.result()
