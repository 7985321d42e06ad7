"""The demonstration store: whole episodes, written, read and verified."""

from egodtm_robot.demos.attributes import DemonstrationAttributes, foreign_attributes
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.origin import Origin
from egodtm_robot.demos.store import DemonstrationStore, DerivedWriter

__all__ = [
    "DemonstrationAttributes",
    "DemonstrationStore",
    "DerivedWriter",
    "Episode",
    "Origin",
    "foreign_attributes",
]
