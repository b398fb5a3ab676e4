"""Loads long ranges of history: cuts them into requests, inserts them, and watches until all have ended."""
