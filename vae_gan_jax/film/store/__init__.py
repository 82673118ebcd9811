"""Prepared frames on disk, and the order and frequency in which training draws them."""
