"""Trio plumbing that knows no trading."""
