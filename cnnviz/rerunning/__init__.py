"""Making an output again from the record inside it."""
