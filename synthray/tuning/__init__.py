"""A search for settings that train stably: the space, a trial, the objective, what is told of it.

Plain Python and torch; `synthray.distributed.tune` runs it on Ray Tune.
"""
