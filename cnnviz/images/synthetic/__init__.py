"""Pictures that are drawn from a number: scenes with a shape, and digits."""
