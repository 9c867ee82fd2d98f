"""The servers that are measured: each on a fresh data folder, started by its own command line."""
