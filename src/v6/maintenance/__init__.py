"""Maintenance of the lake's tables: small files joined, finished days folded, old rows, files and log entries dropped.

It runs beside everything: each change of a table is one commit that brings nobody new rows and that no append conflicts
with, prepared and checked before it is committed, so that it may die at any instruction (docs/maintenance.md).
"""
