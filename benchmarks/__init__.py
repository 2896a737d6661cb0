"""Measurements against other libraries, with the answers checked in the same run.

``python -m benchmarks`` lists what can be run. A *case* is a job with data made from a seed; its *contestants* are the
libraries that can do it, each at its best; :mod:`benchmarks.harness` says what is measured and how.
"""
