"""What differs between a laptop and Azure: one abstract resource for each capability, in a file for each stage."""
