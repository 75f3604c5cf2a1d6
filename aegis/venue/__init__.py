"""How Binance is spoken to."""
