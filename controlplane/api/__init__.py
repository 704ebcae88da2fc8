"""The gRPC API: thin servicers over the use cases.

A servicer turns a message into the domain's values, calls one use case, and turns the answer into a message. Errors
are mapped in one interceptor, credentials checked in another.
"""
