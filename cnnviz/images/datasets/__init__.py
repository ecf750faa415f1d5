"""Data sets: many pictures by number, from folders, lists, tars, tables or memory."""
