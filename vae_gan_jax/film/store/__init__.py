"""Prepared frames on disk, and the order in which they are drawn. No jax."""
