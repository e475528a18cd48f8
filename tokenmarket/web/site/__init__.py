"""The frame of all pages: who is looking, in which language, what may be seen, how it is drawn.

    Site.handle(inbound, client)      what a front hands over; made on the first page (``site.py``)
      -> Starlette's router           one row per page (``table.py``), each naming its policy
      -> pages.serve                  session, policy, form and CSRF -> a Visit
      -> handler(visit)               a page of ``web/pages/``; gathers, then ``visit.render``
      -> drawing.Drawing              Jinja in a thread, so that no page holds up the relay

Nothing here is on the path of an API request: the gateway serves with this package not imported.
"""
