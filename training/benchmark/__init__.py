"""The benchmark: contenders on datasets by named protocols, into a report.

`command.py` is the verb, `run.py` the order of events, `job.py` one contender on one dataset,
`protocols.py` what is counted, `contenders.py` who competes, `report.py` what is left behind.
"""
