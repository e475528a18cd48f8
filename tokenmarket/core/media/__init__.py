"""What can be said about pictures, sound and film without decoding them, and how transcripts read.

Everything here is handed bytes, or a ``Reader`` over bytes that lie elsewhere. The bytes are
somebody else's and hostile until shown otherwise: every loop is bounded, and what is no legal file
raises ``MediaError`` or is answered with None, never anything else.
"""
