"""What hosted models cost with a memory in front of them, and what finite-memory-api adds."""
