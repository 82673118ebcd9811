"""Reads films: probes them, decodes them, frames them. No jax."""
