"""For writing a script: serve it and start again at every change, or run it once in place and read a report."""

from penstock_scorer.development.trial import Report, test_script

__all__ = ["Report", "test_script"]
