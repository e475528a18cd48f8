"""Telling customers: webhook endpoints of organisations, and callbacks of single video orders.

``endpoints.py`` is what people do to endpoints, ``deliverer.py`` the one loop that sends, fed by
``dispatches.py`` (endpoints) and ``callbacks.py`` (orders); ``service.py`` runs it. An event is
written with ``store/webhook_endpoints.publish`` in the transaction of what it tells.
"""
