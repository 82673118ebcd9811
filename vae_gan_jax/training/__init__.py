"""Training: state, step, loop, checkpoints, recovery from divergence."""
