"""A run folder: settings, log, lock, atomic files, storage in a bucket."""
