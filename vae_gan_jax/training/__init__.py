"""State, step, schedule, checkpoints and the loop that joins them."""
