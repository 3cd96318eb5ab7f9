"""Training: augmentation, targets, loss, EMA, schedule and the loop."""
