"""Programs for the torch backend: a bundle's graphs as torch modules, exported on the machine that
runs them and kept in its engine cache."""
