"""Memory that a training will take, predicted before it starts, and the largest patch that fits."""
