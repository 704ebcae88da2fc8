"""What users can ask for, one class per kind of resource: validate, then one transaction, then an answer.

Use cases know the domain and the ports in :mod:`.ports`, never SQL, gRPC or a backend. They change the desired state
with its operation and its audit event in one transaction; reconcilers, woken by the commit, do the rest.
"""
