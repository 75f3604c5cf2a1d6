"""AEGIS: a trading engine for Binance USDⓈ-M futures, written on Trio."""

__version__ = "0.1.0"
