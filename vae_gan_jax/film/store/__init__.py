"""Stores prepared frames on disk, and decides in which order training draws them."""
