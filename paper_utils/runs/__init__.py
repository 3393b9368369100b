"""Claims, the notebook runner, publishing, and the command line."""
