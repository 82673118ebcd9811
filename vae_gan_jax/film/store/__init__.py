"""Stores prepared frames on disk, and decides in which order and how often training draws them."""
