"""autoseg: a self-configuring segmentation framework."""
