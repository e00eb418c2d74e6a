"""Two engines on the same frames, stage by stage: `compare.compare_engines`."""
