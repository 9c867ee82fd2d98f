"""The `hearth` command line: one file per group of commands."""
