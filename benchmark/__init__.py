"""Measurements: each prints a table for people and one line of JSON for programs."""

from slm.core import standard_library_first  # noqa: F401
