"""The command `anomaly-seg`: one module per verb, put together by main.py."""
