"""Making the observed state equal to the desired one.

One loop per kind, each level-triggered: woken by an event it reads everything anew, decides by a pure plan, acts, and
reports. It may be killed at any line and run again. :mod:`~controlplane.reconcile.platform` ties the loops together.
"""
