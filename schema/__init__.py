"""What values may look like: errors, typed ids, limits of signed JSON, schemas of bodies.

``body`` is the one module that compiles and applies the JSON Schemas in ``requests``. Nothing here
imports anything of ours, so every other package may use it.
"""

__project__ = "hearth"
