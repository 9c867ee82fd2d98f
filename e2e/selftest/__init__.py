"""The encryption self-test: a group of throw-away people who encrypt for each other on a running
server, through its public API only.

A client, not a part of the server: it shares no state with it and trusts none of its answers. What
a client would verify is verified here, with python-olm and canonicaljson. ``run`` has the order of
the steps; a step is a function of ``sign_up``, ``keys``, ``rooms`` or ``identities`` that takes the
``Group`` and raises a ``Fault`` when the server does something wrong. What the steps took is kept
in a ``Ledger``; to be slow is no fault.
"""
