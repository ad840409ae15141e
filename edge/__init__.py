"""What faces a person or another machine."""
