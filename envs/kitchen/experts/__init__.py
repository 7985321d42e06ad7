"""Scripted experts: one for each task of the kitchen.

An expert's action is a function of the present state alone. Nothing counts steps: how far the
hand is from the handle, how far the joint has moved and how far the fingers are open decide what
comes next, so a miss or a lost grip leads back to the approach by itself, and a policy that sees
only the present can imitate it.
"""

from envs.kitchen.experts.expert import EXPERT_VERSION, Expert, make_expert

__all__ = ["EXPERT_VERSION", "Expert", "make_expert"]
