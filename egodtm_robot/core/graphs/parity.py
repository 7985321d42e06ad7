"""Whether a written file gives what the original gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from egodtm_robot.core.graphs.graph import Graph, GraphExportError

PARITY_LIMIT = 1e-4
"""Largest difference that is accepted, see :class:`Parity`. Other kernels add in another order, and
what goes beyond that is another function."""

_ROWS = (1, 3)
"""Rows of the compared batches: the one that a robot uses, and another."""


@dataclass(frozen=True)
class Parity:
    """How far a file is from the original.

    Attributes:
        difference: the largest difference of two numbers, in the unit of :attr:`Graph.unit`.
        numbers: that were compared.
    """

    difference: float
    numbers: int

    def __str__(self) -> str:
        return (
            f"{self.difference:.1e} at most over {self.numbers:,} numbers "
            f"(limit {PARITY_LIMIT:.0e})"
        )


def compare(
    graph: Graph,
    run: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    rows: int | None = None,
) -> Parity:
    """Compare a file with the original on random inputs.

    Args:
        graph: the original.
        run: computes the output of the file for inputs by name.
        rows: of a batch, if the file takes no other; None for any.

    Raises:
        GraphExportError: a shape or a number differs by more than :data:`PARITY_LIMIT`.
    """
    largest, numbers = 0.0, 0
    for seed, count in enumerate(_ROWS):
        inputs = graph.sample(rows or count, seed)
        wanted, got = graph.reference(inputs), run(inputs)
        if wanted.shape != got.shape:
            raise GraphExportError(
                f"Expected {graph.output} of shape {wanted.shape} from the file of {graph.name}, "
                f"got {got.shape}. It was not written."
            )
        unit = graph.unit
        if unit is None:
            unit = np.array(max(1.0, float(np.abs(wanted).max(initial=0.0))))
        difference = np.abs((wanted.astype(np.float64) - got) / unit).max(initial=0.0)
        # NaN compares false with everything.
        largest = float(difference) if not difference <= largest else largest
        numbers += wanted.size
    parity = Parity(largest, numbers)
    if not largest <= PARITY_LIMIT:
        raise GraphExportError(
            f"Expected the file of {graph.name} to give the same {graph.output}, got a difference "
            f"of {parity}. It was not written. Try the other format, or tell us of the network."
        )
    return parity
