"""The boundary that lets the instance stand alone.

``routes`` refuses the paths of federation, ``ours`` refuses foreign ids at the edge, and ``egress``
is the only HTTP client of the server: every outgoing request asks its guard.
"""

__project__ = "hearth"
