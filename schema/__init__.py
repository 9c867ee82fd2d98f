"""JSON Schemas of requests and events, typed ids, errors, and the one module that compiles and applies schemas."""

__project__ = "hearth"
