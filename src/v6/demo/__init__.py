"""The whole main job in two minutes: gateway and worker as real processes, one insert, rows, and a page to look at."""
