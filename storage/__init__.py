"""SQL only: one module of plain functions per feature, the transaction first.

``store`` is the one way in: ``read`` runs on a pool of threads, ``write`` goes through the
``committer``, which puts everything that waits into one transaction. ``stream`` is the one sequence
of positions that everything durable on /sync follows. SQLite and PostgreSQL differ only in
``sqlite`` and ``postgres``; ``migrations`` are numbered and read by both.
"""

__project__ = "hearth"
