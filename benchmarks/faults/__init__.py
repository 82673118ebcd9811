"""Faults on purpose: what a run survives."""
