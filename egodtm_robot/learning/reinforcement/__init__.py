"""Reinforcement learning with Stable-Baselines3 on frozen features, from a cloned policy or none.

The modules that a configuration names (:mod:`~egodtm_robot.learning.reinforcement.ppo`,
:mod:`~egodtm_robot.learning.reinforcement.sac`) load without Stable-Baselines3, so that ``--help``
and the reference work where the extra ``rl`` is not installed.
"""
