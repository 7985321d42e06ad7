"""What formats of named columns share: a column an array, and a record of the store.

LeRobot, robomimic, Minari and diffusion_policy all lay down one column for each array. A data set
that was written here also holds a :class:`~.record.Record` of its store.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from numpy.typing import DTypeLike

from egodtm_robot.demos.attributes import DemonstrationAttributes
from egodtm_robot.demos.convert.contract import DemonstrationFormat, DemonstrationSource
from egodtm_robot.demos.convert.packages import convert_package
from egodtm_robot.demos.convert.record import Record, exported_columns
from egodtm_robot.demos.convert.roles import Roles
from egodtm_robot.demos.store import DemonstrationStore


class ColumnarFormat(DemonstrationFormat):
    """A format that is written column by column."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Modules of the extra ``convert`` that it needs."""

    cameras: list[str] | None

    @staticmethod
    @abstractmethod
    def default_column(name: str) -> str:
        """Column of an array whose store does not come from this format."""

    def check_packages(self) -> None:
        """Refuse to work without a package.

        Raises:
            MissingPackageError: one is not installed.
        """
        for package in self.packages:
            convert_package(package, self.kind)

    def check_store(self, store: DemonstrationStore) -> None:
        """Refuse to write without a package, or a camera that is not there."""
        self.check_packages()
        self.columns(store)

    def columns(self, store: DemonstrationStore) -> dict[str, str]:
        """For each array of a store that is written, its column."""
        return exported_columns(store, self.kind, self.default_column, self.cameras)

    def metadata(self, store: DemonstrationStore) -> dict[str, Any]:
        """What a store says of the data set that it came from, if it was one of this format."""
        origin = store.attributes.origin
        if origin is None or origin.format != self.kind:
            return {}
        return dict(origin.metadata)


class ColumnarSource(DemonstrationSource):
    """A data set of named columns, open for reading."""

    _roles: Roles
    """What its columns become."""

    _record: Record | None = None
    """Of the store that it was made of, if it was written here."""

    @abstractmethod
    def own_attributes(self) -> DemonstrationAttributes:
        """Where the demonstrations come from, without a record."""

    @cached_property
    def attributes(self) -> DemonstrationAttributes:
        """See :class:`DemonstrationSource`."""
        return self.own_attributes() if self._record is None else self._record.attributes

    @property
    def rows(self) -> Mapping[str, tuple[Sequence[int], DTypeLike]]:
        """See :class:`DemonstrationSource`."""
        return self._roles.rows if self._record is None else self._record.rows
