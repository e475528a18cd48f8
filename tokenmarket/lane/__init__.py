"""A shorter way through the same rooms, for plain chats that are not streamed.

``frames.py`` works out once what is the same for thousands of requests of one program (its key, its
headers, and everything in its bodies but the messages); ``call.py`` serves one such request in two
synchronous steps: one when it has arrived, one when the upstream has answered; all that came with
one turn of the loop take each step together (``offers.py``, ``answers.py``). What is unusual goes
to ``gateway.py``: before anything was taken it simply is not the lane's; afterwards the lane hands
over an Exchange as the rooms would have filled it.
``docs/decisions/0008-one-pass-for-plain-requests.md``.
"""

from tokenmarket.lane.call import Call, Client, Lane

__all__ = ["Call", "Client", "Lane"]
