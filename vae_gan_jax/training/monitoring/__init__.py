"""What is shown and logged while a run trains."""
