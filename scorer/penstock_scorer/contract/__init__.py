"""The promises made to a user's script: how it is loaded, called, and what becomes of its result.

No transport and no threads in here: the same contract serves HTTP, gRPC and a script run in place.
"""
