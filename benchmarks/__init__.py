"""Benchmarks. This file makes the folder win over packages of this name that others install."""
