"""The conformance ledger: what the Matrix specification asks of a server, and what proves it here.

One YAML file stands for one section of the specification (v1.19): ``appendices``, the folders
``client_server`` and ``rooms``::

    section: Client-server API, Push notifications
    source: content/client-server-api/modules/push.md
    rules:
      - rule: The server answers 404 M_NOT_FOUND for a rule that does not exist.
        level: plain
        tests: [tests.test_push.RulesTest.test_a_rule_is_read_changed_placed_and_deleted]

A rule is one plain sentence in our own words, with the server as its subject. Its ``level`` is MUST
or SHOULD where the text says so (in whatever case), and plain where it states what servers do. It
then has exactly one of

- ``tests``: each would fail if the rule were broken; journeys of real clients count too;
- ``missing``: no test yet; why, or what the server does instead;
- ``not_offered``: this server leaves it out by design; the reason.

What only clients, other servers or identity servers can keep is no rule here, and what depends on
an optional feature names the feature. ``ledger`` reads the files, checks them and counts.
"""
