"""E-mail that the server sends: what letters say, the queue they wait in, and SMTP."""
