"""Datasets of labelled road scenes, label spaces, augmentation and outlier pasting."""
