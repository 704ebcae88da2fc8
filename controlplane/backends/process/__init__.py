"""Instances as supervised processes in virtual environments: nothing but Python is needed."""
