"""Processes: one supervisor that serves nothing, and the workers it forks, replaces and ends."""
