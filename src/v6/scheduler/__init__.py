"""What inserts requests by the clock."""
