"""The tables: one module owns one table; delta.py alone speaks to the storage library."""
