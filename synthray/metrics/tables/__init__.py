"""Evaluation of tables: shapes, pairs, neighbours, usefulness, privacy, and their report.

Every score is computed from samples of the tables that do not depend on how their rows are stored
(`reading`), so a score over shards equals the score over the whole, to the last bit.
"""
