"""Multi-task attack generators against single-task ones; see ``reproduce_mta.py``."""
