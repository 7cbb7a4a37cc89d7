"""Task gradients, and how they are formed: rows, ghosts, layers, the autograd graph."""
