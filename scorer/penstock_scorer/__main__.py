"""``python -m penstock_scorer`` is the command ``penstock-scorer``."""

from penstock_scorer.cli import main

raise SystemExit(main())
