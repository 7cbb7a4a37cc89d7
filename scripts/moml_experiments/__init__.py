"""The experiments of ``scripts/reproduce_moml.py``, a section of its page each."""
