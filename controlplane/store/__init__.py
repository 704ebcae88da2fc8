"""The store: the desired state, durable, and the last report on the observed one.

SQLAlchemy Core over SQLite (PostgreSQL later): tables, one repository per kind, and :class:`~.store.Store`, whose
transactions publish what changed after they are committed. Nothing here talks to a network while a transaction is
open, and nothing outside imports SQLAlchemy.
"""
