"""A Lambda service on this machine: AWS's REST Invoke API in front of AWS's own runtime client in worker processes.

Many invocations at a time, each in an execution environment of its own, with cold starts, limits of time and memory,
throttling, limits of payloads and function errors as AWS reports them. It checks no signatures and listens on loopback
only. `environment`: one execution environment; `service`: functions, concurrency, the Invoke API; `python -m
lambda_compat.local` runs it.
"""
