"""From closed bars to a signal."""
