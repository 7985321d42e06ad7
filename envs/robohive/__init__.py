"""RoboHive's FK1 kitchen behind the same interface as :mod:`envs.kitchen`."""

from envs.robohive.env import RoboHiveKitchenEnv

__all__ = ["RoboHiveKitchenEnv"]
