"""What fine-tuning, first weights and pre-training without labels are made of."""
