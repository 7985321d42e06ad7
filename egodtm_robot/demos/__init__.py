"""The demonstration store: episodes of a scripted expert, written, read and verified."""

from egodtm_robot.demos.attributes import DemonstrationAttributes
from egodtm_robot.demos.episode import Episode
from egodtm_robot.demos.store import DemonstrationStore, DerivedWriter

__all__ = ["DemonstrationAttributes", "DemonstrationStore", "DerivedWriter", "Episode"]
