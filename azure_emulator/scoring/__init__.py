"""What answers at a scoring address: containers that really run, and Azure's gateway in front of them."""
