"""A first stage without labels: networks that learn to fill in what was masked."""
