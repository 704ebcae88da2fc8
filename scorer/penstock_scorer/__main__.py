"""``python -m penstock_scorer`` is the command ``penstock-scorer``."""

from penstock_scorer.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
