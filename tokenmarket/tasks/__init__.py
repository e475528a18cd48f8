"""Video tasks: made at a provider, watched until they end, their files copied, their money settled.

    creating.py    POST /videos: key, order, routes, price, hold and row; then the first submission
    submitting.py  the create at a provider: taken, refused, or nobody knows
    polling.py     the loop: leases what is due, one step for each
    stepping.py    one step of one task: ask the provider, decide, write the next state
    finalizing.py  the files of a finished task into our store, then the charge
    ending.py      the one end of a task with its money, its receipt and its notice
    service.py     what the web asks for: one task, a list, cancel, delete, the bytes
    documents.py   what the JSON columns of a task row hold;  views.py: a row as callers see it
    engine.py      the parts that all of these work with

What a reader must know:

* A task row is the whole truth: every step begins with it and ends with a compare-and-set. Who
  loses one drops what it knows; the row will be due again. So a process may die anywhere.
* ``accepted`` was never sent. ``submitting`` found by the poller may have been sent, so it is
  ``submit_unknown``: never sent again, looked for where the provider can be asked, and otherwise
  held until the deadline.
* Nothing is charged but on a success, and nothing is released but on an end that is proven or on
  the deadline. An answer that is not understood changes nothing.
* All times come from the clock that is handed in; nothing here waits but the loops.
"""
