"""One small GPT, trained the same way each time."""
