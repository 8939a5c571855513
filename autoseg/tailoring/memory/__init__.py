"""What a training takes of memory, told before it starts, and the largest patch that fits."""
