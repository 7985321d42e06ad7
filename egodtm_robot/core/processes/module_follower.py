"""Begins a process of :func:`egodtm_robot.core.processes.module_run.run_module`."""

import runpy
import sys

from egodtm_robot.core.processes.parent import follow_parent


def main() -> None:
    """Follow the parent, then be the module that the command line names."""
    _, parent, by_kernel, module, *arguments = sys.argv
    follow_parent(int(parent), bool(int(by_kernel)))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
