"""The same engine on another clock: recordings and replay."""
