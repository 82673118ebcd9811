"""A film as a sequence of frames on disk: read, stored, put in order, written. No jax in here."""
