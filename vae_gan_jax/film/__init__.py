"""Films as frames on disk: decode, frame, store, shuffle, encode. Nothing here imports jax."""
