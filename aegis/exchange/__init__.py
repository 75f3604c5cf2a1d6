"""A simulated Binance USDⓈ-M futures exchange."""
