"""Architectures: plain nn.Modules, one file each."""
