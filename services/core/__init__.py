"""What every other package may use: errors, clock, ids. Standard library only."""
