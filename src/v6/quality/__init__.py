"""Checks of stored rows: each names the rows it doubts; nothing is changed or dropped."""
