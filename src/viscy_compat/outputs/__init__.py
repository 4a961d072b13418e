"""What outputs that a user saved tell: in which precision they were made, and which models they exclude.

Everything is computed in a worker; the parent sees inner products alone and imports no torch.
"""
