"""The parts of a simulated cohort; bin/simulate_cohort.py states its rules and joins them."""
