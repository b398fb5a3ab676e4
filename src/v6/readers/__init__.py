"""Questions to a lake, for notebooks and scripts: each answers with a lazy frame, without worker or gateway."""
