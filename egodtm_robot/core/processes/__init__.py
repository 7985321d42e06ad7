"""Worker processes: one kit for every command that has any.

- :mod:`.spawn` starts a process that has a fixed number of threads and ends with its parent.
- :mod:`.maps` calls a function in worker processes; most commands need no more than this.
- :mod:`.executor` is what all kinds of workers have in common, :mod:`.local` runs them on this
  machine and :mod:`.ray_cluster` on a Ray cluster. :mod:`.runner` makes them from the ``runner``
  group of the configuration.
- :mod:`.dispatch` gives tasks to the workers of an executor and replaces those that die.
- :mod:`.module_run` runs a module (``python -m``) as a process of its own.
"""
