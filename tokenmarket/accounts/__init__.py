"""Who is calling: organisations and API keys (room 1 of the request path).

``callers`` answers that question for a running server, ``admin`` creates and changes keys and
organisations, ``demo`` fills an empty data directory.
"""

from tokenmarket.accounts.callers import Accounts, Caller

__all__ = ["Accounts", "Caller"]
