"""Datasets (`catalogue.py` lists them), label spaces, augmentation and outlier pasting."""
