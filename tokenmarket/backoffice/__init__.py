"""What the operator does: each function is checked, audited, and noticed by running servers.

Functions take the connection of one transaction, ``now_us`` and the actor for the audit trail; they
raise ``accounts.admin``'s Refused (makes no sense), NotThere and Taken, with texts for people.
"""
