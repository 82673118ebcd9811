"""Networks and objectives: pure functions of (variables, arrays)."""
