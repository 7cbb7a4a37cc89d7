"""Parts of `moml.backward`, the way to use weightings in a training loop of one's own."""
