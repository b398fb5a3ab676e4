"""Runs the daemons as one process tree: each is a process of its own, started again when it falls."""
