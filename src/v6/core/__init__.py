"""The engine: the worker, the session with the gateway, pacing and retry."""
