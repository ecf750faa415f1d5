"""The chapters of a report: what each asks, and what it says."""
