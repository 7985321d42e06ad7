"""What outcomes of episodes say: estimates, tests and a sequential rule; pure computation."""
