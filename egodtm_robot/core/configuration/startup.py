"""What every command does first, before it imports MuJoCo or a package that may be shadowed."""

import sys
from pathlib import Path

from egodtm_robot.core.configuration import answer_help, with_clean_errors
from egodtm_robot.core.configuration.shadowing import check_shadowing
from egodtm_robot.core.drawing.gl import select_backend


def prepare_command() -> None:
    """Stop with one line if a folder shadows a package of ours; choose the OpenGL backend.

    ``--help`` is answered here and ends the process: what the command imports next takes seconds.
    A machine that cannot draw is no error: it shows when something is drawn.
    """
    with_clean_errors(check_shadowing)
    started = getattr(sys.modules["__main__"], "__file__", None)
    if started is not None:
        with_clean_errors(lambda: answer_help(Path(started), sys.argv[1:]))
    select_backend()
