"""What methods return; results know how to draw and save themselves."""
