"""What every command does first, before it imports MuJoCo or a package that may be shadowed."""

from egodtm_robot.core.configuration import with_clean_errors
from egodtm_robot.core.gl import select_backend
from egodtm_robot.core.shadowing import check_shadowing


def prepare_command() -> None:
    """Stop with one line if a folder shadows a package of ours; choose the OpenGL backend.

    A machine that cannot draw is no error here: it shows when something is drawn, and ``--help``
    works everywhere.
    """
    with_clean_errors(check_shadowing)
    select_backend()
