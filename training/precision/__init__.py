"""A bundle's fp32 graphs in other precisions: fp16 with fp32 islands, and int8, each behind a gate
that measures what the vehicle would see."""
