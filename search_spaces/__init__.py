"""Concrete search spaces for architecture search on `moml`; each will be a module of its own."""

__all__: list[str] = []
