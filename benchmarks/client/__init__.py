"""Virtual clients of any homeserver: one connection each, and only the standard API."""
