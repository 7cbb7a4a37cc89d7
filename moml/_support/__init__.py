"""Leaf helpers of all rooms: they know none of them."""
