"""The tasks of the root nursery, in the order data passes."""
