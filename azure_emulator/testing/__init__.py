"""What tests against the local Azure begin with: clients, and parts of it by themselves."""
