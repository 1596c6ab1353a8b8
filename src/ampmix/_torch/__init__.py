"""What the package asks of PyTorch beyond its public interface, in one place."""
