"""What is measured. Each module prints its figures, as ratios within one run where time is involved."""
