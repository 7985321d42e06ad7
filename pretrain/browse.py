"""Shows clips: ``python -m pretrain.browse clips=clips/mine html=clips.html``.

Writes one page that needs nothing beside it: frames with boxes and tracks drawn in, depth, masks,
narration and enriched caption side by side, numbers about the whole set, and a search.
"""

if __name__ == "__main__":
    from egodtm_robot.core.configuration.startup import prepare_command

    prepare_command()

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egodtm_robot.core.configuration import OutputFile, PositiveInt, Seed, command
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.storage import format_bytes
from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.clips.splits import paths
from pretrain.clips.store import ClipStore
from pretrain.gallery.page import make_page


@dataclass
class BrowseConfig:
    """Which clips to show, and where to."""

    clips: Any = "???"
    """Folder of a clip store, or a list of several: ``clips=[a,b]``."""

    html: OutputFile = "clips.html"
    """The page to write; one that is there is replaced."""

    limit: PositiveInt = 200
    """Clips to show, spread over the set; the numbers about the set are of these. A clip takes 20
    to 80 kB of the page."""

    order: Literal["stored", "random"] = "stored"
    """``stored``, or ``random`` to see what is typical at a glance."""

    seed: Seed = 0
    """Of the random order."""

    per_page: PositiveInt = 20
    """Clips to show at a time."""

    width: PositiveInt = 224
    """Of a frame, pixels; no wider than what is stored."""

    def __post_init__(self) -> None:
        if not paths(self.clips):
            raise ConfigurationError("Expected the folder of a clip store in clips, got none.")


def chosen_clips(config: BrowseConfig, clips: int) -> list[int]:
    """Which of ``clips`` clips to show, in which order."""
    count = min(config.limit, clips)
    chosen = np.arange(count) * clips // max(count, 1)
    if config.order == "random":
        chosen = np.random.default_rng(config.seed).permutation(chosen)
    return [int(index) for index in chosen]


@command(BrowseConfig, "browse")
def main(config: BrowseConfig) -> None:
    """Writes the page and says where it is."""
    store = ClipStore.open(paths(config.clips))
    title = ", ".join(path.resolve().name for path in store.paths)
    page = make_page(
        (store[index] for index in chosen_clips(config, len(store))),
        title=title,
        total=len(store),
        per_page=config.per_page,
        width=config.width,
    ).encode()
    file = Path(config.html)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, page)
    shown = min(config.limit, len(store))
    print(f"{shown} of {len(store)} clips in {file} ({format_bytes(len(page))})")


if __name__ == "__main__":
    main()
