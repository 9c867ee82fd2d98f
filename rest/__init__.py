"""HTTP only: routes, authentication, request validation, JSON answers. Parse, call the domain, answer."""

__project__ = "hearth"
