"""Checks off-screen drawing: ``python -m egodtm_robot.core.drawing.check``.

Draws a frame with each library in a process of its own, which is the certain check, and says what
to install when none can.
"""

import os
import platform
import sys
from collections.abc import Sequence

from egodtm_robot.core.drawing.gl import VARIABLE, advice, draw_test


def main() -> int:
    """Check drawing; the exit code is 0 if a backend that the commands would take draws."""
    given = os.environ.get(VARIABLE, "").strip().lower()
    if given:
        candidates: Sequence[str] = (given,)
    elif platform.system() == "Linux":
        candidates = ("egl", "osmesa")
    else:
        candidates = ("",)
    for backend in candidates:
        name = backend or f"{platform.system()}'s own"
        problem = draw_test(backend)
        if problem is None:
            print(f"Off-screen drawing works with OpenGL backend: {name}.")
            return 0
        print(f"OpenGL backend {name} cannot draw: {problem}", file=sys.stderr)
    print(advice(), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
