"""Tests: stories told over the wire, properties, and real clients."""
