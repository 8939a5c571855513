"""What happens to one case on its way into nnU-Net's preprocessed format, one idea per file."""
