"""Translators between OpenAI's wire format and each provider's: bytes in, bytes out, usage out."""
