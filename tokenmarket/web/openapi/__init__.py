"""The public description of our APIs (OpenAPI 3.1), made from the types that parse requests.

``schema`` turns types into JSON Schema, ``operations`` and ``answers`` say what exists, ``texts``
what fields mean, ``document`` puts it together.
"""
