"""What trading is: synchronous, deterministic, without I/O or a clock (`now_ns` is an argument)."""
