"""The documentation as the server has it: pages in two languages, their HTML, their search.

``content`` is a link to ``docs/`` of the repository, where people expect the files; in a wheel it
is a folder with copies of them (package data in pyproject.toml).
"""
