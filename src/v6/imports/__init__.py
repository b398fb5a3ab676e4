"""Bringing Delta tables of older programs into the lake."""
