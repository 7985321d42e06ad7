"""What every wing shares: errors, seeding, off-screen rendering and crash-safe storage."""
