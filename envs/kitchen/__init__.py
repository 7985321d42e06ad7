"""The Franka Kitchen: scene, tasks, environment and scripted experts."""

from envs.cameras import Camera
from envs.kitchen.cameras import KITCHEN_CAMERAS
from envs.kitchen.env import KitchenEnv
from envs.kitchen.tasks import KITCHEN_TASKS, Task

__all__ = ["KITCHEN_CAMERAS", "KITCHEN_TASKS", "Camera", "KitchenEnv", "Task"]
