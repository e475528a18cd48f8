"""TokenMarket: a self-hostable gateway and marketplace for AI models."""

__version__ = "0.1.0"
