"""One folder per method: its stages, its training, its paper and numbers."""
