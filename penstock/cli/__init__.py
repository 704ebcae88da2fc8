"""The command line: the verbs, flags, JSON fields and exit habits of ``az ml``, so that scripts port by one word.

Data goes to stdout; progress and notes go to stderr. Exit 0 is done, 1 failed, 2 wrong usage, 130 interrupted.
"""
