"""Constraints of tables: what holds in every row, by construction. See docs/tables.md."""

from synthray.data.constraints.plan import Plan
from synthray.data.constraints.reading import check_names
from synthray.data.constraints.rules import RuleStats, Violation, Violations

__all__ = ["Plan", "RuleStats", "Violation", "Violations", "check_names"]
