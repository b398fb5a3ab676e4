"""``python -m v6`` is the command ``v6``."""

from v6.cli import main

if __name__ == "__main__":
    main()
