"""What the benchmarks of local models compare with, and the models of random weights they run."""
