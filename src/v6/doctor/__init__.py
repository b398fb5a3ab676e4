"""Walks the chain from settings to rows as a person would who asks why nothing arrives."""
