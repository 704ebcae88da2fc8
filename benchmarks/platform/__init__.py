"""Benchmarks of the whole platform."""
