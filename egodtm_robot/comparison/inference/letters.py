"""Which of many arms differ, as letters behind their names."""

import string
from collections.abc import Collection, Sequence


def compact_letters(names: Sequence[str], differ: Collection[frozenset[str]]) -> dict[str, str]:
    """Letters such that two arms share one exactly if they do not differ.

    Insert and absorb (Piepho, Journal of Computational and Graphical Statistics 2004): every pair
    that differs splits each column that holds both, and a column that another one holds is left
    out.

    Args:
        names: of the arms, the best first; the best has the letter ``a``.
        differ: pairs of names whose difference is clear.

    Returns:
        Letters by name, such as ``ab``, in alphabetical order.

    Raises:
        ValueError: a name occurs twice, a pair is not two of the names, or 52 letters are too few.
    """
    order = {name: number for number, name in enumerate(names)}
    if len(order) != len(names):
        raise ValueError(f"Expected different names, got {list(names)}.")
    columns = [frozenset(names)] if names else []
    pairs = sorted(sorted(pair, key=lambda n: order.get(n, -1)) for pair in differ)
    for pair in pairs:
        if len(pair) != 2 or not all(name in order for name in pair):
            raise ValueError(f"Expected pairs of two of {list(names)}, got {pair}.")
        split = []
        for column in columns:
            split += [column - {name} for name in pair] if set(pair) <= column else [column]
        columns = [
            one
            for number, one in enumerate(split)
            if one and not any(one < other for other in split) and one not in split[:number]
        ]
    columns.sort(key=lambda column: sorted(order[name] for name in column))
    letters = dict(zip(columns, string.ascii_letters, strict=False))
    if len(letters) < len(columns):
        raise ValueError(f"Expected at most {len(string.ascii_letters)} columns of letters.")
    return {
        name: "".join(letter for column, letter in letters.items() if name in column)
        for name in names
    }
