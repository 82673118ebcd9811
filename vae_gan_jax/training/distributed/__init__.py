"""Several processes and devices as one run."""
