"""Scenarios that run against real parts, and the cluster they run on."""
