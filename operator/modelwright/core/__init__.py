"""Decisions: pure functions from what was observed to what shall be. No I/O, no clock, no randomness."""
