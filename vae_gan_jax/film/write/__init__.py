"""Writes films and numbered PNGs. No jax."""
