"""What several studies' networks share: layers, scales, the training loop and the model file."""
