"""The management API (``/api/manage/v1``): everything that the console's pages do, for programs.

``endpoint`` is what its modules are written against, ``table`` names them all, ``frame`` answers.
"""
