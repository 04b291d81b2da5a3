"""The command as a module: `python -m prefect_ruddr`."""

from __future__ import annotations

from prefect_ruddr.cli import main

if __name__ == "__main__":
    main()
