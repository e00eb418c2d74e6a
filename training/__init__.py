"""Training, benchmarking and export of the methods; needs torch, run from a checkout."""
