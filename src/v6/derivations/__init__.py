"""Derivations: pure functions of one symbol's trading date and a named bit of history; ``catalogue.py`` lists them."""
