"""Tests: stories told over the wire, properties, and real clients.

``conformance`` says which of them proves which rule of the specification.
"""
