"""Run folders: settings, log, lock, provenance, atomic files, storage in a bucket."""
