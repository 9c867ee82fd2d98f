"""The boundary that lets the instance stand alone: refused routes, foreign ids, and the egress guard."""

__project__ = "hearth"
