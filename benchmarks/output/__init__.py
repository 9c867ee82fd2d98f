"""What a run leaves behind: one table, one JSON file, one plot per scenario."""
