"""The plain nouns: data without behaviour, without torch."""
