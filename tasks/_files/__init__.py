"""Data sets as their authors publish them, read from a folder; nothing is ever downloaded."""
