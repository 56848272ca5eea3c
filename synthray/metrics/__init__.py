"""Mergeable metrics, feature extractors and the report.

Nothing here imports Ray: a metric's state is plain data that any worker can make and any other
can merge.
"""
