"""Probes and decodes films, and selects the part of the picture that becomes a frame."""
