"""What everything stands on: containers, storage and checks, errors, paths, and the physics that exists once."""
