"""How do batches reach a CUDA device? One launch each, or a thread that prefetches."""
