"""What a server costs while a scenario runs: times, processor, memory, queries."""
