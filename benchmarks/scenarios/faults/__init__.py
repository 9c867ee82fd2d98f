"""faults: people talk while something goes wrong. ``fault`` says what a fault is."""
