"""Policies that turn features and proprioception into actions."""
