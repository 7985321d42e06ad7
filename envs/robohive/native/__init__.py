"""RoboHive's own FK1 environments, from the package robohive, which is installed apart.

Nothing here is imported before an environment is built, and robohive itself not before that either
(see :mod:`envs.robohive.native.package`).
"""
