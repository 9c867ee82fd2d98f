"""What makes encrypted messages unreadable on other servers, and cannot happen here.

The invariants have numbers, from 1 to 22; each has a test whose name and docstring carry its
number, told over the wire by devices with real keys. ``test_model`` lets people do anything in any
order, on a server that is slow, restarted and killed.
"""
