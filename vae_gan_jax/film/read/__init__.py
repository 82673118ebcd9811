"""Examine films, decode them, and select the part of the picture that becomes a frame."""
