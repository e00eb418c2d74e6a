"""Rules over ONNX graphs, one module per target: `check.check_bundle`. Needs the package `onnx`."""
