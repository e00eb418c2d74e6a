"""A bundle from a user's own ONNX network: `create.create_bundle`. Needs the package `onnx`."""
