"""Top-activating patches."""
