"""Sessions with a gateway on file: a proxy writes them down without personal data, a server replays them."""
