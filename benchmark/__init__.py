"""Measurements: each prints a table for people and one line of JSON for programs."""
