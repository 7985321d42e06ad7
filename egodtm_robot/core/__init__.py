"""What every wing shares: configuration, storage, processes, training, drawing, errors, seeding."""
