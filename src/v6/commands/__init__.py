"""The commands of ``v6``: one module each, importing what it needs only when it runs."""
