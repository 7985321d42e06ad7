"""What a format of demonstrations is: one small contract for all of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import DTypeLike

from egodtm_robot.core.configuration.instantiation import check_options, choose
from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError
from egodtm_robot.demos.attributes import DemonstrationAttributes
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.store import DemonstrationStore, estimate_bytes


class ConversionError(EgoDTMRobotError, ValueError):
    """A data set of another toolkit cannot be read, or a store not written as one."""


@dataclass(frozen=True)
class Part:
    """One episode of a data set that is being written.

    Attributes:
        index: number of the episode.
        folder: holds what the format has written of it.
        facts: what the format has said of it, as JSON.
    """

    index: int
    folder: Path
    facts: Mapping[str, Any] = field(default_factory=dict)


class DemonstrationSource(ABC):
    """A data set that is open for reading. Each worker process opens its own."""

    whole: ClassVar[bool] = False
    """Whether opening reads all there is; then one process reads the episodes too."""

    @property
    @abstractmethod
    def attributes(self) -> DemonstrationAttributes:
        """Where the demonstrations come from; decides the store that they are read into."""

    @property
    @abstractmethod
    def lengths(self) -> Sequence[int]:
        """Steps of each episode."""

    @property
    @abstractmethod
    def rows(self) -> Mapping[str, tuple[Sequence[int], DTypeLike]]:
        """For each large array the (shape, dtype) of a row; for the estimate of disk."""

    @abstractmethod
    def read(self, index: int) -> Episode:
        """One episode, with everything that the data set says of it.

        Raises:
            ConversionError: the episode is damaged or contradicts the data set.
        """

    def close(self) -> None:  # noqa: B027 - few formats hold a file open
        """Let go of the files."""


@dataclass
class DemonstrationFormat(ABC):
    """How another toolkit lays down demonstrations: the ``format`` group of the configuration.

    Reading gives whole episodes. Writing is done in two steps, so that many processes can share it
    and a kill costs little: each episode becomes a part in a folder of its own, then the parts are
    put together in their order.
    """

    kind: ClassVar[str]
    """What stores call the format."""

    @abstractmethod
    def open(self, path: Path) -> DemonstrationSource:
        """A data set of this format.

        Raises:
            ConversionError: there is none, it is of another version, or lacks what was asked for.
            MissingPackageError: a package of the extra ``convert`` is not installed.
        """

    def check_store(self, store: DemonstrationStore) -> None:
        """Refuse a store that cannot be written in this format.

        Raises:
            ConversionError: see the message.
        """
        raise ConversionError(
            f"Expected a format that can be written, got {self.kind}, which is only read. Choose "
            "another with format=NAME."
        )

    def write_part(self, store: DemonstrationStore, index: int, folder: Path) -> dict[str, Any]:
        """Write one episode into a folder of its own; runs in a worker.

        Args:
            store: that passed :meth:`check_store`.
            index: of the episode.
            folder: empty; counts as done when this returns.

        Returns:
            JSON-able facts that :meth:`merge` and :meth:`summary` read.
        """
        raise NotImplementedError

    def merge(self, store: DemonstrationStore, parts: Sequence[Part], out: Path) -> None:
        """Make a data set of all parts.

        Args:
            store: that they were written from.
            parts: of all episodes, in their order.
            out: a path where nothing is; a file or a folder, as the format has it.
        """
        raise NotImplementedError

    def summary(self, parts: Sequence[Part]) -> str:
        """What is to be known of the data set that was written, such as what a codec has lost."""
        return "images exact"

    def estimate_bytes(self, store: DemonstrationStore) -> int:
        """Disk that writing takes at most: by default parts and data set, uncompressed."""
        rows = {
            name: (store.array(name).spec.row_shape, store.array(name).spec.dtype)
            for name in store.array_names
        }
        return 2 * estimate_bytes(store.num_steps, rows)


def make_format(config: str | Mapping[str, Any]) -> DemonstrationFormat:
    """The format that the ``format`` group names.

    Args:
        config: a name that has a file in ``configs/format``, the import path of a
            :class:`DemonstrationFormat` class, or a mapping with ``_target_`` (such a path) and the
            options of the class.

    Raises:
        UnknownNameError: no such file, or no such option.
        ConfigurationError: the import path leads nowhere or to no format, or a value does not fit.
    """
    choice = choose("format", config, base=DemonstrationFormat)
    check_options("format", choice.target, choice.options)
    try:
        made: DemonstrationFormat = choice.target(**choice.options)
    except TypeError as error:
        raise ConfigurationError(f"A value of format.* has the wrong type: {error}.") from error
    return made
