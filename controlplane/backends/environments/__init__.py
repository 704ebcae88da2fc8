"""Reading what users ask for in conda and pip files, in one vocabulary.

No backend of ours runs conda: packages come from a Python package index. The translation says exactly where that
makes a difference, in sentences a user can act on.
"""
