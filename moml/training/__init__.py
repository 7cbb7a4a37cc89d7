"""Parts of the loop: callbacks, checkpoints, validation, further batches, saved state."""
