"""Fovea in PyTorch: operators that autograd and torch.compile know."""
