"""What single units are made of and respond to."""
