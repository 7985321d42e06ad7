"""Rollouts of policies and what they leave behind."""
